"""The router's client: the header as Asterisk sends it, what sessions bring back, and how a session goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import pytest
from agi_client import key_of

from schemas import agi
from schemas.agi_digest import session_digest
from simulator.agi_client import MAX_LINE_BYTES, RouterClient, Variables, make_header
from simulator.lines import Call

CALL = Call(
    call_id="sim1-1800000000-1800000005.7",
    started_at_ms=1_800_000_005_123,
    endpoint="c-alpha",
    remote_address="127.1.0.1:5060",
    callee="+44 7700|900",
    caller='"A\nB" <1>',
    patience_ms=1,
)
KEY = key_of("sim1")
HEADER = make_header(CALL, "PJSIP/c-alpha-00000007", "sim1-1800000005.7", "127.0.0.1", 4573, KEY)


def test_the_header_carries_the_contract_s_arguments_encoded() -> None:
    text = HEADER.decode()
    assert text.endswith("\n\n")
    headers = dict(line.split(": ", 1) for line in text[:-2].split("\n"))
    script, _, digest = headers["agi_network_script"].partition("?")
    assert (script, digest) == (agi.AGI_SCRIPT, session_digest(KEY, script, CALL.call_id, "1800000005.123"))
    arguments = [unquote(headers[f"agi_arg_{number}"]) for number in range(1, len(agi.AGI_ARGUMENTS) + 1)]
    assert arguments == [
        CALL.call_id, "c-alpha", "127.1.0.1:5060", "+44 7700|900", '"A\nB" <1>', "1800000005.123",
    ]  # fmt: skip
    # What the wire says stands in the arguments alone: a line end in it begins no header of its own.
    raw = ("callerid", "calleridname", "dnid", "rdnis", "extension")
    assert [headers[f"agi_{name}"] for name in raw] == ["unknown", "unknown", "unknown", "unknown", "s"]


@asynccontextmanager
async def serving(handler: object) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(port: int, *, count: int = 1, most: int = 10, seconds: float = 1.0) -> dict[object, Variables | None]:
    answers: dict[object, Variables | None] = {}
    done = asyncio.Event()

    def answered(ticket: object, variables: Variables | None) -> None:
        assert ticket not in answers
        answers[ticket] = variables
        if len(answers) == count:
            done.set()

    client = RouterClient("127.0.0.1", port, most_sessions=most, seconds=seconds, answered=answered)
    for ticket in range(count):
        client.ask(ticket, HEADER)
    await asyncio.wait_for(done.wait(), 5)
    assert client.sessions == 0
    return answers


async def test_variables_come_back_in_pieces_and_over_several_commands() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\n\n") == HEADER
        for piece in (b"EXEC MSet ", b'"A=1,B=x\\\\,y"', b'\nSET VARIABLE C "3"\nEXEC MSe'):
            writer.write(piece)
            await asyncio.sleep(0.01)
        writer.write(b"t A=2\n")
        assert [await reader.readline() for _ in range(3)] == [b"200 result=0\n", b"200 result=1\n", b"200 result=0\n"]
        writer.close()

    async with serving(handler) as port:
        assert await ask(port) == {0: {"A": "2", "B": "x,y", "C": "3"}}


async def test_a_session_that_is_cut_has_what_was_set_before() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n\n")
        writer.write(b"EXEC MSet A=1\nEXEC MSet ROUTES=2")  # the second without its end
        await writer.drain()
        await reader.readline()
        writer.transport.abort()

    async with serving(handler) as port:
        assert await ask(port) == {0: {"A": "1"}}


async def test_nobody_there_is_no_router() -> None:
    async with serving(lambda reader, writer: writer.close()) as port:
        pass
    assert await ask(port) == {0: None}


async def test_a_router_that_says_nothing_is_none_after_its_time() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async with serving(handler) as port:
        assert await ask(port, seconds=0.1) == {0: None}


@pytest.mark.parametrize("line", [b"x" * (MAX_LINE_BYTES + 10), b"NOOP\n" * 400])
async def test_a_router_that_sends_without_end_is_cut_off(line: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        await reader.read(-1)
        writer.close()

    async with serving(handler) as port:
        assert await ask(port) == {0: None}


async def test_no_more_sessions_than_allowed_at_once_and_everybody_is_asked() -> None:
    open_now = most = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        writer.close()

    async with serving(handler) as port:
        assert await ask(port, count=20, most=3) == {number: {} for number in range(20)}
    assert most == 3
