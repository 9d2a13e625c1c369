"""Lines of an AGI header that a text from the wire has brought in: nobody is taken for somebody else because of them.

The dialplan takes such texts out of the header (tests/asterisk/test_hostile_texts.py). This is the router by itself, as
if it had not: a session is served with the arguments that the dialplan wrote, or not at all.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from router.server.agi import AgiApplication, AgiRequest
from router.server.agi_session import AgiSession
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres

ARGUMENTS: Final = (
    "ast1-1-1.1",
    "c-x",
    "127.0.0.10%3A5060",
    "1%0A",
    "12",
    "1795609861.000",
    "",
    "",
    "",
    "%3Csip%3A12%40x%3E",
    "alaw%2Culaw",
)
FORGED: Final = "".join(f"agi_arg_{number}: forged\n" for number in range(1, 7))
HEADER: Final = (
    "agi_network: yes\nagi_network_script: route\nagi_request: agi://127.0.0.1/route\nagi_callerid: {caller}\n"
    "agi_calleridname: unknown\nagi_dnid: {dnid}\nagi_rdnis: unknown\nagi_context: call\nagi_extension: s\n"
    + "".join(f"agi_arg_{number}: {value}\n" for number, value in enumerate(ARGUMENTS, start=1))
    + "\n"
)
PIECES: Final = st.sampled_from(
    ["\n", "\r", "1", ": ", "agi_arg_1: forged", "agi_arg_3: 127.0.0.12", "agi_arg_12: forged", "agi_x: 1",
     "agi_network_script: ping", "\n\n", FORGED, "200 result=0", "\0", "\udcff"]
)  # fmt: skip
TEXTS: Final = st.lists(PIECES, max_size=6).map("".join)


class Loop:
    """Keeps what is begun, and never runs it."""

    def __init__(self) -> None:
        self.cancelled = False

    def create_task(self, work: Coroutine[Any, Any, None]) -> "Loop":
        work.close()
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def add_done_callback(self, _done: object) -> None:
        """It never ends."""


class Transport:
    """Of a connection that is there."""

    def get_extra_info(self, _name: str) -> None:
        return None

    def close(self) -> None:
        """Closed."""


class Application:
    """What a session asks of its server; `begun` are the sessions that got a route."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.loop = Loop()
        self.begun: list[AgiRequest] = []
        self.require = self.gate = lambda _script, _headers: None

    def admits(self, _session: AgiSession, _peername: Any) -> bool:
        return True

    def breaks(self, _error: Exception, _peername: Any) -> None:
        """Counted."""

    def route_of(self, _script: str) -> Callable[[AgiRequest], Any]:
        return self.begun.append


SETTINGS: Final = RouterSettings(
    snapshot=SnapshotSettings(postgres=Postgres(dsn=SecretStr("postgresql://none")), directory=Path("/none")),
    kafka=Kafka(bootstrap="127.0.0.1:1"), spool=Path("/none/spool.sqlite"), header_seconds=1, deadline_seconds=1,
    agi_secret=SecretStr("a secret"),
)  # fmt: skip


@given(TEXTS, TEXTS, st.lists(st.integers(0, 1000), max_size=3))
def test_whatever_is_injected_nobody_elses_arguments_are_served(caller: str, dnid: str, cuts: list[int]) -> None:
    raw = HEADER.format(caller=caller, dnid=dnid).encode(errors="surrogateescape")
    ends = sorted({min(cut, len(raw)) for cut in cuts} | {len(raw)})
    application = Application(SETTINGS)
    session = AgiSession(application)  # type: ignore[arg-type]
    session.connection_made(Transport())  # type: ignore[arg-type]
    for start, end in zip([0, *ends], ends, strict=False):
        if start < end:
            session.data_received(raw[start:end])
    if application.begun and not application.loop.cancelled:
        (request,) = application.begun
        assert request.arguments[: len(ARGUMENTS)] == list(ARGUMENTS)
        assert request.headers["agi_network_script"] == "route"
    else:
        assert session.over


@pytest.mark.parametrize("apart", [False, True])
async def test_a_header_that_the_wire_has_ended_early_is_not_answered(apart: bool) -> None:
    application = AgiApplication(SETTINGS, asyncio.get_running_loop())
    served: list[list[str]] = []
    ended = asyncio.Event()

    async def route(request: AgiRequest) -> None:
        await ended.wait()  # as one that waits for PostgreSQL
        served.append(request.arguments)
        await request.command("NOOP")

    application.add_route("route", route)
    raw = HEADER.format(caller="1\n" + FORGED, dnid="1\n\n").encode()
    assert raw.count(b"\n\n") > 1
    end = raw.index(b"\n\n") + 2
    server = await application.listen("127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        for part in (raw[:end], raw[end:]) if apart else (raw,):
            writer.write(part)
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        ended.set()
        writer.close()
        await asyncio.wait_for(application.idle.wait(), 5)
    assert (served, application.broken) == ([], 1)
