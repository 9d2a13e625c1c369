"""The AGI server without a database: its quoting, and that garbage costs only its own session."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agi_client import ask, unquote_mset
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from router.server.agi import AgiApplication, AgiError, AgiRequest, connections_waiting, mset_commands, parse_headers
from router.server.agi_session import AgiSession
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
from schemas.agi import MAX_COMMAND_CHARACTERS, MAX_PAIRS

names = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)
values = st.text(st.characters(blacklist_characters="\n\r\0", codec="utf-8"), max_size=60)


@given(st.lists(st.tuples(names, values), max_size=250))
def test_variables_come_through_both_levels_of_quoting(pairs: list[tuple[str, str]]) -> None:
    found: dict[str, str] = {}
    for command in mset_commands(pairs):
        assert len(command) < MAX_COMMAND_CHARACTERS + 400
        assert command.count("=") <= 10_000
        found |= unquote_mset(command)
    assert found == dict(pairs)


def test_a_long_answer_is_split_and_keeps_its_order() -> None:
    pairs = [(f"V{number}", "x" * 30) for number in range(300)] + [("ROUTES", "8")]
    commands = mset_commands(pairs)
    assert len(commands) > 2
    assert all(len(unquote_mset(command)) <= MAX_PAIRS for command in commands)
    assert "ROUTES=8" in commands[-1]


def test_a_line_end_never_leaves() -> None:
    with pytest.raises(AgiError, match="line end"):
        mset_commands([("A", "1\nHANGUP")])


@pytest.mark.parametrize(
    "raw",
    [b"agi_a: 1\nagi_a: 2\n\n", b"GET / HTTP/1.1\n\n", b"\xff\xfe: 1\n\n", b"agi_a\n\n", b"other: 1\n\n", b"\n\n"],
)
def test_what_is_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(AgiError):
        parse_headers(raw)


@given(st.binary(max_size=400))
def test_any_bytes_are_headers_or_an_agi_error(raw: bytes) -> None:
    try:
        headers = parse_headers(raw)
    except AgiError:
        return
    assert all(name.startswith("agi_") for name in headers)


class Served:
    """A server with one script `echo` that sets a variable."""

    def __init__(self, port: int, application: AgiApplication) -> None:
        self.port = port
        self.application = application

    async def good(self) -> None:
        """A good session works."""
        sent = b"agi_network_script: echo\nagi_arg_1: hello\n\n"
        assert await ask(self.port, sent) == {"SAID": "hello"}


def make_settings(tmp_path: Path, **changes: Any) -> RouterSettings:
    return RouterSettings(
        snapshot=SnapshotSettings(postgres=Postgres(dsn=SecretStr("postgresql://none")), directory=tmp_path),
        kafka=Kafka(bootstrap="127.0.0.1:1"), spool=tmp_path / "spool.sqlite", agi_secret=SecretStr("a secret"),
        header_seconds=0.5, deadline_seconds=1,
        max_sessions=20, **changes,
    )  # fmt: skip


async def serve(settings: RouterSettings) -> tuple[asyncio.Server, Served]:
    application = AgiApplication(settings, asyncio.get_running_loop())

    async def echo(request: AgiRequest) -> None:
        await request.set_variables([("SAID", request.arguments[0])])

    application.add_route("echo", echo)
    server = await application.listen("127.0.0.1", 0)
    return server, Served(server.sockets[0].getsockname()[1], application)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    server, value = await serve(make_settings(tmp_path))
    async with server:
        yield value


async def exchange(port: int, sent: bytes, answers: bytes = b"") -> bytes:
    """Send bytes, answer with bytes, and read until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if answers:
            await reader.readline()
            writer.write(answers)
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEADER = b"agi_network_script: echo\nagi_arg_1: x\n\n"


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", b""), (b"GET / HTTP/1.1\r\n\r\n", b""), (b"\x00" * 5000, b""), (b"agi_x: " + b"y" * 50_000, b""),
        (b"\xff\xfe\n\n", b""), (b"agi_network_script: nothing\n\n", b""), (b"agi_network_script: ech", b""),
        (HEADER, b"510 Invalid or unknown command\n"), (HEADER, b"garbage\n"), (HEADER, b"200 result=-1\n"),
        (HEADER, b"520-Invalid\n520 End\n"), (HEADER, b"100 Trying\n" * 100), (HEADER, b"x" * 40_000), (HEADER, b""),
    ],
)  # fmt: skip
async def test_garbage_ends_its_session_and_no_other(served: Served, sent: bytes, answers: bytes) -> None:
    bad, _ = await asyncio.gather(exchange(served.port, sent, answers), served.good())
    assert b"HTTP" not in bad
    await served.good()
    await asyncio.wait_for(served.application.idle.wait(), 5)
    assert served.application.broken == 1


async def test_a_hangup_line_answers_nothing(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HEADER)
    assert b"SAID=x" in await reader.readline()
    writer.write(b"HANGUP\n200 result=0\n")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert served.application.broken == 0


async def test_connect_and_close_leaves_nothing(served: Served) -> None:
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.close()
    await served.good()
    await asyncio.wait_for(served.application.idle.wait(), 5)


async def test_too_many_sessions_are_shed_and_the_others_served(served: Served) -> None:
    async def waits(_request: AgiRequest) -> None:
        await asyncio.sleep(30)

    served.application.add_route("waits", waits)
    slow = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(20)]
    for _, writer in slow:
        writer.write(b"agi_network_script: waits\n\n")
    await asyncio.sleep(0.15)
    assert await exchange(served.port, HEADER) == b""
    assert served.application.shed == 1
    for _, writer in slow:
        writer.close()
    await asyncio.wait_for(served.application.idle.wait(), 5)
    await served.good()


async def test_of_too_many_those_go_that_have_said_nothing(served: Served) -> None:
    """Asterisk sends its header with the connection: who holds one open without is no node with a call."""
    silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(20)]
    silent[7][1].write(b"agi_network_script: ec")
    await asyncio.sleep(0.15)
    for _ in range(5):
        await served.good()
    assert (served.application.shed, served.application.sessions <= 20) == (0, True)
    for _, writer in silent:
        writer.close()
    await asyncio.wait_for(served.application.idle.wait(), 5)


async def test_a_peer_that_is_not_allowed_is_not_answered(tmp_path: Path) -> None:
    server, value = await serve(make_settings(tmp_path, peers_allowed=("192.0.2.0/24",)))
    async with server:
        assert await exchange(value.port, HEADER) == b""
        assert value.application.broken == 1


async def test_a_route_that_takes_its_time_to_let_go_keeps_nobody_waiting(served: Served) -> None:
    let_go = asyncio.Event()

    async def stubborn(_request: AgiRequest) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await let_go.wait()
            raise

    served.application.add_route("stubborn", stubborn)
    assert await exchange(served.port, b"agi_network_script: stubborn\n\n") == b""
    assert served.application.broken == 1
    await served.good()
    let_go.set()
    await asyncio.wait_for(served.application.idle.wait(), 5)


async def test_a_defect_of_a_route_costs_its_own_session(served: Served) -> None:
    async def broken(request: AgiRequest) -> None:
        raise KeyError(request.headers["agi_network_script"])

    served.application.add_route("broken", broken)
    assert await exchange(served.port, b"agi_network_script: broken\n\n") == b""
    await served.good()
    await asyncio.wait_for(served.application.idle.wait(), 5)
    assert served.application.broken == 1


async def test_connections_that_wait_in_the_kernel_are_seen() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        assert connections_waiting(listener) == 0
        asked = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        assert connections_waiting(listener) == 5
        listener.accept()[0].close()
        assert connections_waiting(listener) == 4
        for one in asked:
            one.close()
    assert connections_waiting(listener) == 0


@pytest.mark.parametrize("lost_first", [False, True])
async def test_a_session_that_is_over_before_its_route_begins_is_let_go(served: Served, lost_first: bool) -> None:
    """As on a busy machine: its time is over in the very round of the loop in which its header came."""

    class Transport:
        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return "127.0.0.1", 1

        def close(self) -> None:
            """Closed."""

    session = AgiSession(served.application)
    session.connection_made(Transport())  # type: ignore[arg-type]
    session.data_received(HEADER)
    assert served.application.sessions == 1
    session.fail(TimeoutError("not over"))
    if lost_first:
        session.connection_lost(None)
    await asyncio.sleep(0.01)
    if not lost_first:
        session.connection_lost(None)
    assert served.application.sessions == 0
    assert served.application.broken == 1
    await served.good()


async def test_the_gates_word_is_sent_and_no_route_begun(served: Served) -> None:
    served.application.gate = lambda script, headers: b"NO\n" if headers.get("agi_arg_1") == "x" else None
    assert await exchange(served.port, HEADER) == b"NO\n"
    await served.good()
    await asyncio.wait_for(served.application.idle.wait(), 5)
    assert served.application.broken == 0
