"""What the supervisor needs to know of an embedded server: how to prepare it, start it, ask after it and stop it.

A `Server` is data and two functions; it holds no process. The supervisor calls `prepare`, spawns `argv` (whole
environment = `env`, working directory = `directory`, its own session, stdin = `given`, stdout and stderr into the log),
asks `healthy` until it returns, and ends it by `stop_signal`, after `stop_seconds` by SIGKILL.
The pid that it spawned is the serving process itself: whatever wraps it replaces itself by exec.
"""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one short line for the terminal: what is being done now."""


class ServerError(Exception):
    """A server cannot be prepared, or is not healthy. The text is for the user: what is wrong and what to do."""


@dataclass(frozen=True)
class Server:
    """One embedded server.

    `given` is what it reads on its standard input (secrets are neither in `argv` nor in `env`); None: nothing.
    `address` is `host:port`. `prepare(progress)` makes everything that has to be there before a start (safe to call
    before every start, also after a kill -9; raises ServerError). `healthy()` does what the server is for, within a few
    seconds, and raises ServerError with the reason when it cannot.
    """

    name: str
    address: str
    directory: Path
    prepare: Callable[[Progress], None]
    argv: tuple[str, ...]
    env: Mapping[str, str]
    healthy: Callable[[], None]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30.0
    given: bytes | None = field(default=None, repr=False)
