"""The fake AMI, asked by panoramisk's Manager (which the node agent uses) and by hostile clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from panoramisk import Manager

from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer

NOW_MS = 1_800_000_060_500


def make_channel(number: int, leg: str = "") -> Channel:
    return Channel(
        name=f"PJSIP/c-alpha-{number:08x}",
        unique_id=f"sim1-1800000000.{number}",
        linked_id=f"sim1-1800000000.{number}",
        call_id=f"sim1-1800000000-1800000000.{number}",
        leg=leg,
        context="from-customers",
        extension="447700900123\r\nEvent: Forged",
        number="1",
        connected_number="",
        created_at_ms=NOW_MS - 5_900,
        state=ami_messages.UP,
    )


class Fake:
    def __init__(self) -> None:
        self.channels = [make_channel(1), make_channel(2, "1")]
        self.hung_up: list[tuple[str, int]] = []
        self.port = 0
        self.server = AmiServer(
            node="sim1",
            user="agent",
            secret="right",
            channels=lambda: self.channels,
            hang_up=self._hang_up,
            now_ms=lambda: NOW_MS,
        )

    def _hang_up(self, name: str, cause: int) -> bool:
        self.hung_up.append((name, cause))
        return any(channel.name == name for channel in self.channels)


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    made = Fake()
    made.port = await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.stop()


Login = Callable[[], Awaitable[tuple[Manager, list[Any]]]]


@pytest.fixture
async def login(fake: Fake) -> AsyncIterator[Login]:
    managers: list[Manager] = []

    async def connect() -> tuple[Manager, list[Any]]:
        events: list[Any] = []
        booted = asyncio.Event()
        manager = Manager(
            loop=asyncio.get_running_loop(), host="127.0.0.1", port=fake.port, username="agent", secret="right"
        )
        manager.register_event("*", lambda _, event: events.append(event))
        manager.register_event("FullyBooted", lambda _, event: booted.set())
        managers.append(manager)
        await manager.connect()
        await asyncio.wait_for(booted.wait(), 3)
        return manager, events

    yield connect
    for manager in managers:
        manager.reconnect_timeout = 3_600
        manager.close()
    await asyncio.sleep(0.01)


async def test_login_then_fully_booted_with_the_uptime(login: Login) -> None:
    manager, events = await login()
    assert manager.authenticated
    assert events[0].event == "FullyBooted"
    assert events[0].Uptime == "0"


async def test_status_lists_the_channels_with_their_variables(fake: Fake, login: Login) -> None:
    fake.channels[0].variables = {"DECISION": "ALLOW"}
    manager, _ = await login()
    answer = await asyncio.wait_for(
        manager.send_action({"Action": "Status", "Variables": "DECISION,CALL_FACTS"}, as_list=True), 3
    )
    caller, vendor = answer[1:3]
    assert caller.event == "Status"
    assert caller.Channel == "PJSIP/c-alpha-00000001"
    assert caller.AccountCode == "sim1-1800000000-1800000000.1"
    assert caller.Variable == ["DECISION=ALLOW", "CALL_FACTS=(null)"]
    assert caller.Seconds == "5"
    assert caller.ChannelStateDesc == "Up"
    assert vendor.AccountCode == "sim1-1800000000-1800000000.2/1"
    assert answer[-1].event == "StatusComplete"
    assert answer[-1].ListItems == "2"


async def test_wire_text_forges_no_header(login: Login) -> None:
    manager, events = await login()
    await asyncio.wait_for(manager.send_action({"Action": "Status"}, as_list=True), 3)
    assert not [event for event in events if event.event == "Forged"]


async def test_status_of_thousands_of_channels_is_whole(fake: Fake, login: Login) -> None:
    fake.channels = [make_channel(number) for number in range(3_000)]
    manager, _ = await login()
    answer = await asyncio.wait_for(manager.send_action({"Action": "Status"}, as_list=True), 10)
    assert [message.event for message in answer[1:-1]] == ["Status"] * 3_000


async def test_hangup_reaches_the_channel_or_says_that_there_is_none(fake: Fake, login: Login) -> None:
    manager, _ = await login()
    done = await manager.send_action({"Action": "Hangup", "Channel": "PJSIP/c-alpha-00000001", "Cause": "16"})
    assert done.success
    none = await manager.send_action({"Action": "Hangup", "Channel": "PJSIP/nobody-1", "Cause": "x"})
    assert not none.success
    assert none.Message == "No such channel"
    assert fake.hung_up == [("PJSIP/c-alpha-00000001", 16), ("PJSIP/nobody-1", 16)]


async def test_events_reach_everybody_who_is_logged_in(fake: Fake, login: Login) -> None:
    (_, first), (_, second) = await login(), await login()
    assert fake.server.has_listeners
    hangup = ami_messages.channel_event("Hangup", "sim1", make_channel(7), NOW_MS, 16)
    fake.server.send_event(hangup)
    await asyncio.sleep(0.1)
    for events in (first, second):
        assert events[-1].event == "Hangup"
        assert events[-1].Cause == "16"
        assert events[-1].AccountCode == "sim1-1800000000-1800000000.7"
        assert events[-1].Uniqueid == "sim1-1800000000.7"


async def raw(fake: Fake, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(sent)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(-1), 5)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"Action: Login\r\nUsername: agent\r\nSecret: wrong\r\n\r\nAction: Status\r\n\r\n",
        b"Action: Login\r\nUsername: \xff\r\nSecret: right\r\n\r\nAction: Status\r\n\r\n",
        b"Action: Status\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Action: Login\r\n" * 3_000,
        b"x" * 100_000,
    ],
)
async def test_who_is_not_logged_in_learns_nothing(fake: Fake, login: Login, sent: bytes) -> None:
    try:
        answer = await raw(fake, sent)
    except ConnectionError:
        answer = b""
    assert b"Event:" not in answer
    assert b"Success" not in answer
    manager, _ = await login()  # others are unharmed
    assert (await manager.send_action({"Action": "Ping"})).success


async def test_a_client_that_does_not_read_is_cut_off(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.ami_server.MAX_WAITING_BYTES", 100_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(b"Action: Login\r\nUsername: agent\r\nSecret: right\r\n\r\n")
    await reader.readuntil(b"Fully Booted")
    assert fake.server.has_listeners
    event = ami_messages.channel_event("Newstate", "sim1", make_channel(7), NOW_MS)
    for _ in range(60_000):
        fake.server.send_event(event)
        if not fake.server.has_listeners:
            break
    assert not fake.server.has_listeners
    writer.close()


async def test_an_unknown_action_is_an_error_and_the_connection_stays(login: Login) -> None:
    manager, _ = await login()
    assert not (await manager.send_action({"Action": "Originate"})).success
    assert (await manager.send_action({"Action": "Ping"})).success
