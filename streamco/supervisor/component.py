"""What the supervisor knows of one component, and the states it can be in."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from streamco.embedded.server import Progress, Server

State = Literal["healthy", "degraded", "starting", "restarting", "failed", "stopped", "external"]
AT_WORK: Final = frozenset({"healthy", "degraded", "external"})  # others may count on it
HealthCheck = Callable[[int | None], str | None]
"""Gets the pid of the running process (None: external); returns, or raises ServerError with the reason.

Out: what it cannot do while it does the rest (degraded, in words); nothing or an empty text: it is well.
"""


def nothing_to_prepare(_: Progress) -> None:
    """For components that need nothing before a start."""


@dataclass(frozen=True)
class Component:
    """`needs`: names of those that must be healthy before this one is started (again).

    `inherits`: descriptors that the process is given, under the same numbers.
    `given`: what it reads on its standard input at each start: its secrets; None: nothing.
    `external`: runs elsewhere; only `healthy` is used. `serving_pid` gives the pid that serves where that is not the
    process that we start (it is a child of it then, and ends with it).
    """

    name: str
    address: str | None
    healthy: HealthCheck
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    prepare: Callable[[Progress], None] = nothing_to_prepare
    needs: tuple[str, ...] = ()
    inherits: tuple[int, ...] = ()
    given: bytes | None = field(default=None, repr=False)
    external: bool = False
    serving_pid: Callable[[], int | None] | None = None
    start_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    check_seconds: float = 3.0


def component_of(server: Server) -> Component:
    """An embedded server as a component."""
    return Component(
        name=server.name,
        address=server.address,
        healthy=lambda _pid: server.healthy(),
        argv=tuple(server.argv),
        environment=server.env,
        given=server.given,
        directory=server.directory,
        prepare=server.prepare,
        start_seconds=120.0,
        stop_signal=server.stop_signal,
        stop_seconds=server.stop_seconds,
    )


@dataclass(frozen=True)
class Status:
    """One component as `streamco status` shows it. `detail` says why, where there is a why."""

    name: str
    state: State
    pid: int | None
    address: str | None
    restarts: int
    log: str | None
    detail: str = ""
