"""The session with AMI, against the fake node's server and against servers that do wrong."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.ami.client import AmiError, AmiSession
from agent.ami.events import fold_status, status_channels
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer

CALL = "sim1-1795609861-1795609900.12"


def channel(leg: str, state: int) -> Channel:
    return Channel(
        name=f"PJSIP/x-{leg or 0}", unique_id="sim1-1.1", linked_id="sim1-1.1", call_id=CALL, leg=leg, context="c",
        extension="1", number="2", connected_number="", created_at_ms=1_795_609_900_000, state=state,
    )  # fmt: skip


class Fake:
    def __init__(self) -> None:
        self.channels = [channel("", ami_messages.UP), channel("2", ami_messages.UP)]
        self.server = AmiServer(
            node="sim1", user="agent", secret="right-secret", channels=lambda: self.channels,
            hang_up=lambda _name, _cause: True, now_ms=lambda: 1_795_609_909_000,
        )  # fmt: skip
        self.port = 0


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    made = Fake()
    made.port = await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.stop()
    await asyncio.sleep(0.02)  # transports close their sockets in the loop's next rounds


RIGHT = "right-secret"


async def log_in(port: int, events: list[Any], secret: str = RIGHT, seconds: float = 2.0) -> AmiSession:
    return await AmiSession.open("127.0.0.1", port, "agent", secret, events.append, seconds)


async def test_the_secret_is_told_to_our_own_asterisk_alone(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes its port while it is started again is told nothing."""
    session = await AmiSession.open("127.0.0.1", fake.port, "agent", RIGHT, [].append, 2.0, run_by=os.geteuid())
    session.close()
    monkeypatch.setattr("runtime.listeners.users_listening", lambda _, __: {"0100007F": {4_000_000}})
    with pytest.raises(AmiError, match=r"is not ours: .*listened at by user 4000000"):
        await AmiSession.open("127.0.0.1", fake.port, "agent", RIGHT, [].append, 2.0, run_by=os.geteuid())


async def test_login_status_and_events(fake: Fake) -> None:
    events: list[Any] = []
    session = await log_in(fake.port, events)
    answer = await session.ask({"Action": "Status"})
    seen = fold_status("sim1", status_channels(answer), None, {}, 1)
    # Answered at a moment that is not known: a second that has begun counts whole.
    assert [(call.call_id, call.leg, call.answered, call.seconds) for call in seen.calls] == [(CALL, 2, True, 10)]
    fake.server.send_event(ami_messages.channel_event("Hangup", "sim1", fake.channels[0], 1_795_609_909_000, 16))
    await session.ask({"Action": "Ping"})  # its answer comes behind the event
    assert [event["event"] for event in events] == ["FullyBooted", "Hangup"]
    session.close()


async def test_a_status_without_channels_is_an_answer_too(fake: Fake) -> None:
    fake.channels = []
    session = await log_in(fake.port, [])
    assert status_channels(await session.ask({"Action": "Status"})) == []
    session.close()


async def test_a_wrong_secret_is_refused_by_name(fake: Fake) -> None:
    with pytest.raises(AmiError, match="refuses user agent: Authentication failed"):
        await log_in(fake.port, [], secret="wrong-secret")


async def test_a_session_that_ends_says_so(fake: Fake) -> None:
    session = await log_in(fake.port, [])
    await fake.server.stop()
    await asyncio.wait_for(session.ended, 2)
    with pytest.raises(AmiError, match="gone"):
        await session.ask({"Action": "Status"})


async def test_nobody_there() -> None:
    with pytest.raises(AmiError, match="not reached"):
        await log_in(9, [])


@asynccontextmanager
async def serving(answer: bytes, close: bool = False) -> AsyncIterator[int]:
    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer)
        if close:
            writer.close()

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "not answered Login"),
        (b"\xff\x00\r\n\r\n\r\n\r\n: \r\n\r\nEvent\r\n\r\nEvent: \r\n\r\n", "not answered Login"),
        (b"A" * 3_000_000, "gone"),  # a message that never ends
    ],
)
async def test_a_server_that_does_wrong_costs_one_session(answer: bytes, says: str) -> None:
    async with serving(answer) as port:
        with pytest.raises(AmiError, match=says):
            await log_in(port, [], seconds=0.4)


async def test_a_server_that_closes_at_once() -> None:
    async with serving(b"Asterisk Call Manager/11.0.0\r\n", close=True) as port:
        with pytest.raises(AmiError, match="gone"):
            await log_in(port, [])
