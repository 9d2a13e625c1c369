"""Limits on the real Asterisk: places and calls per second by vendor, route and code, over two routers; crashes."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import real_line
from ami import Ami
from journal_events import events_of
from real_calls import until
from real_line import CALLER, RICH, Line, MakeLine
from sip_call import Call

from router.server.full_limits import LOOK_SECONDS
from schemas.events import CallEnded, LegAnswered, LegEnded, LegStarted
from schemas.journal import JournalEvent
from simulator.sipp import scenarios
from sinks.reachability import list_reachability
from streamco.embedded.temporary import free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""
VENDOR_2 = "999210000010"  # a number that vendor 2 alone carries, and answers


@pytest.fixture(scope="module")
def line(make_line: MakeLine) -> Iterator[Line]:
    """A line of this module's own: its world is limited."""
    with make_line("limits", Line) as line:
        yield line


@contextmanager
def agent_of(line: Line) -> Iterator[subprocess.Popen[bytes]]:
    """An agent of the node. Kafka is away: no limit waits for it."""
    values = {
        "node": "ast1",
        "directory": str(line.directory / "node"),
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "postgres": {"dsn": line.dsn},
        "ami_port": line.ami_port,
        "ami_secret": "right-secret",
        "heartbeat_seconds": 0.5,
        "beat": str(line.directory / "agent.beat"),
    }
    with (line.directory / "agent.out").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@pytest.fixture
def agent(line: Line) -> Iterator[subprocess.Popen[bytes]]:
    with agent_of(line) as process:
        await_nothing_counted(line)
        yield process


def await_nothing_counted(line: Line) -> None:
    """Until this agent has corrected what the one before was not asked for any more: calls that ended as it did."""
    with psycopg.connect(line.dsn, autocommit=True) as connection:
        counted = "SELECT coalesce(sum(concurrent), 0) FROM limit_counters"
        until(lambda: connection.execute(counted).fetchone() == (0,), "nobody is counted any more")


def generation(line: Line) -> int:
    with psycopg.connect(line.dsn) as connection:
        row = connection.execute("SELECT generation FROM configuration_generation").fetchone()
        assert row is not None
        return int(row[0])


def configure(line: Line, *statements: str) -> None:
    """Change the world, and wait until the router has it."""
    with psycopg.connect(line.dsn, autocommit=True) as connection:
        connection.execute("UPDATE peers SET max_concurrent = 0, max_cps = 0")
        connection.execute("UPDATE route_class_entries SET max_concurrent = 0, max_cps = 0")
        connection.execute("DELETE FROM code_limits")
        for statement in statements:
            connection.execute(statement.encode())
    until_generation(line.directory / "beat", generation(line))
    time.sleep(2 * LOOK_SECONDS)  # what was full before is not looked up any more


def until_generation(beat: Path, wanted: int) -> None:
    until(lambda: f"generation {wanted}," in beat.read_text(), f"the router has generation {wanted}")


def key_of(line: Line, name: str, code: str = "") -> str:
    with psycopg.connect(line.dsn) as connection:
        row = connection.execute("SELECT peer_id FROM peers WHERE name = %s", (name,)).fetchone()
        assert row is not None
        return f"c{row[0]}-{code}" if code else f"p{row[0]}"


def asked(line: Line, expression: str) -> str:
    """What a global variable or function of the dialplan is now."""
    with Ami(line.ami_port) as ami:
        return ami.ask(Action="Getvar", Variable=expression)[0].get("Value", "")


def await_share(line: Line, key: str, share: str, kind: str = "LC") -> None:
    until(lambda: asked(line, f"{kind}_{key}") == share, f"Asterisk has a share of {share} of {key}")
    until(lambda: int(asked(line, "LIMITS_UNTIL") or 0) > time.time(), "shares hold")


def await_reachable(line: Line, vendor: str) -> None:
    """Until it is not skipped: a new Asterisk may have probed it too early."""

    def is_skipped(connection: psycopg.Connection[Any]) -> bool:
        found = [one for one in list_reachability(connection, 100) if one.vendor == vendor]
        return any(one.probe == "unreachable" or one.skip_until is not None for one in found)

    with psycopg.connect(line.dsn, autocommit=True) as connection:
        until(lambda: not is_skipped(connection), f"{vendor} answers")
    time.sleep(LOOK_SECONDS)


class Batch:
    """Many callers of one SIPp, as fast as it can; those that are refused are content, too."""

    def __init__(self, line: Line, name: str, calls: int, number: str = VENDOR_2, *, talk_ms: int = 4_000) -> None:
        self._line = line
        self.calls = calls
        port = line._sip_port_of(RICH)
        self.address = f"{RICH}:{port}"
        self._process = line._sipp(
            name, scenarios.caller_talks(CALLER, talk_ms), RICH, port, "-s", number, "-m", str(calls), "-r", "500",
            f"127.0.0.1:{line.sip_port}", "-timeout", "40",
        )  # fmt: skip

    def wait(self, meanwhile: Callable[[], None] = lambda: None) -> list[Call]:
        """Until each call is closed in the journal: their ends and legs."""
        deadline = time.monotonic() + 40
        while len(found := self._closed()) < self.calls:
            assert time.monotonic() < deadline, f"{len(found)} of {self.calls} calls have ended"
            meanwhile()
            time.sleep(0.05)
        self._process.wait(20)
        return found

    def answered(self) -> int:
        """How many calls talk, or have talked, by the journal so far."""
        return sum(isinstance(event, LegAnswered) and event.call_id in self._ids() for event in self._events())

    def _events(self) -> list[JournalEvent]:
        journal = self._line.journal.read_bytes() if self._line.journal.exists() else b""
        return events_of(one for one in journal.splitlines(keepends=True) if one.endswith(b"\n"))

    def _ids(self) -> set[str]:
        return {event.call_id for event in self._events() if isinstance(event, LegStarted)}

    def _closed(self) -> list[Call]:
        events = self._events()
        ends = [one for one in events if isinstance(one, CallEnded) and one.remote_address == self.address]
        legs: dict[str, list[LegEnded]] = {end.call_id: [] for end in ends}
        for one in events:
            if isinstance(one, LegEnded) and one.call_id in legs:
                legs[one.call_id].append(one)
        return [Call(end, legs[end.call_id], [], []) for end in ends]


def passed(calls: list[Call]) -> int:
    """How many were answered; each other one was refused for its limit, without a leg."""
    refused = [call for call in calls if call.ended.answered_at_ms is None]
    for call in refused:
        assert (call.ended.reason, call.ended.cause, call.ended.legs, call.legs) == ("LIMIT", 44, 0, [])
    return len(calls) - len(refused)


@pytest.fixture(scope="module")
def second_router(line: Line) -> Iterator[int]:
    """The port of another router process on the same world."""
    directory = line.directory / "second"
    directory.mkdir()
    port = free_port()
    with (directory / "out").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", real_line._ROUTER, line.dsn, str(directory), str(port), "60", real_line.SECRET],
            stdout=log, stderr=log, cwd=Path(real_line.__file__).parents[2],
        )  # fmt: skip
    until((directory / "beat").exists, "the second router")
    yield port
    process.terminate()
    process.wait(20)


def alternate(line: Line, second: int) -> Callable[[], None]:
    """Each time it is called the other router is asked by the calls that come."""
    ports = itertools.cycle((second, line.router_port))

    def change() -> None:
        with Ami(line.ami_port) as ami:
            for _ in range(10):
                ami.ask(Action="Setvar", Variable="ROUTER", Value=f"127.0.0.1:{next(ports)}")
                time.sleep(0.01)

    return change


@pytest.fixture(autouse=True)
def one_router(line: Line) -> Iterator[None]:
    yield
    with suppress(OSError, AssertionError), Ami(line.ami_port) as ami:
        ami.ask(Action="Setvar", Variable="ROUTER", Value=f"127.0.0.1:{line.router_port}")


def test_fifty_calls_at_once_over_two_routers_and_a_vendor_who_takes_ten(
    line: Line, agent: subprocess.Popen[bytes], second_router: int
) -> None:
    configure(line, "UPDATE peers SET max_concurrent = 10 WHERE name = 'sipp-vendor-2'")
    await_share(line, key_of(line, "sipp-vendor-2"), "10")
    until_generation(line.directory / "second" / "beat", generation(line))
    calls = Batch(line, "vendor-ten", 50, talk_ms=6_000).wait(alternate(line, second_router))
    assert passed(calls) == 10
    assert asked(line, f"GROUP_COUNT({key_of(line, 'sipp-vendor-2')}@p)") == "0"


def test_fifty_calls_at_once_over_two_routers_of_a_customer_who_may_ten(
    line: Line, agent: subprocess.Popen[bytes], second_router: int
) -> None:
    configure(line, "UPDATE peers SET max_concurrent = 10 WHERE name = 'sipp-customer-1'")
    until_generation(line.directory / "second" / "beat", generation(line))
    calls = Batch(line, "customer-ten", 50, talk_ms=6_000).wait(alternate(line, second_router))
    assert passed(calls) == 10
    await_nothing_counted(line)


LIMITED = {
    "route": "UPDATE route_class_entries SET max_concurrent = 3 FROM peers WHERE peers.peer_id ="
    " route_class_entries.peer_id AND name = 'sipp-vendor-2'",
    "code of the vendor": "INSERT INTO code_limits SELECT peer_id, '99921', 3, 0 FROM peers"
    " WHERE name = 'sipp-vendor-2'",
    "code of the customer": "INSERT INTO code_limits SELECT peer_id, '9992', 3, 0 FROM peers"
    " WHERE name = 'sipp-customer-1'",
}


@pytest.mark.parametrize("name", LIMITED)
def test_other_limits_of_calls_at_once(line: Line, agent: subprocess.Popen[bytes], name: str) -> None:
    configure(line, LIMITED[name])
    with psycopg.connect(line.dsn) as connection:
        (key, role) = connection.execute("SELECT limit_key, role FROM limits").fetchone() or ("", "")
    if role == "terminator":
        await_share(line, key, "3")
    calls = Batch(line, name.replace(" ", "-"), 8).wait()
    assert passed(calls) == 3


def test_calls_per_second_of_a_vendor(line: Line, agent: subprocess.Popen[bytes]) -> None:
    configure(line, "UPDATE peers SET max_cps = 3 WHERE name = 'sipp-vendor-2'")
    await_share(line, key_of(line, "sipp-vendor-2"), "3", "LS")
    calls = Batch(line, "vendor-cps", 30, talk_ms=500).wait()
    assert passed(calls) >= 3
    # A leg may begin some milliseconds into the second after the one that it was counted in.
    seconds = Counter(leg.started_at_ms // 1000 for call in calls for leg in call.legs)
    assert sum(seconds.values()) <= 3 * (len(seconds) + 1)
    assert max(seconds.values()) <= 4


def test_calls_per_second_of_a_customer(line: Line, agent: subprocess.Popen[bytes]) -> None:
    configure(line, "UPDATE peers SET max_cps = 3 WHERE name = 'sipp-customer-1'")
    calls = Batch(line, "customer-cps", 30, talk_ms=500).wait()
    assert passed(calls) >= 3
    # A busy router counts a call some time after it has begun: in one of the seconds until the last one's answer.
    answered = [(one.started_at_ms, one.answered_at_ms) for one in (call.ended for call in calls) if one.answered_at_ms]
    seconds = max(answer for _, answer in answered) // 1000 - min(start for start, _ in answered) // 1000 + 1
    assert passed(calls) <= 3 * seconds


def test_where_a_vendor_is_full_the_next_route_takes_the_call(line: Line, agent: subprocess.Popen[bytes]) -> None:
    """Vendor 1 would refuse, then vendor 2 answer: without a place at vendor 1 the first leg is to vendor 2."""
    configure(line, "UPDATE peers SET max_cps = 1 WHERE name = 'sipp-vendor-1'")
    await_share(line, key_of(line, "sipp-vendor-1"), "1", "LS")
    calls = Batch(line, "next-route", 12, "999220000010", talk_ms=500).wait()
    second = int(key_of(line, "sipp-vendor-2")[1:])
    hunts = Counter(len(call.legs) for call in calls)
    assert hunts.keys() == {1, 2}
    assert hunts[2] <= 3
    for call in calls:
        assert call.ended.answered_at_ms is not None
        assert [leg.leg for leg in call.legs] == list(range(1, len(call.legs) + 1))
        last = call.legs[-1].facts
        assert last is not None
        assert last.vendor_peer_id == second
        assert call.ended.last_facts == last
        assert call.ended.legs == len(call.legs)


def test_a_dead_agent_lets_the_shares_lapse_and_the_next_one_has_them_again(line: Line) -> None:
    configure(line, "UPDATE peers SET max_concurrent = 5 WHERE name = 'sipp-vendor-2'")
    key = key_of(line, "sipp-vendor-2")
    with agent_of(line) as first:
        await_share(line, key, "5")
        lasting = Batch(line, "lasting", 3, talk_ms=25_000)
        until(lambda: asked(line, f"GROUP_COUNT({key}@p)") == "3", "three calls talk")
        first.send_signal(signal.SIGKILL)
        first.wait()
    until(lambda: int(asked(line, "LIMITS_UNTIL")) <= time.time(), "the shares lapse")
    assert passed(Batch(line, "lapsed", 2).wait()) == 0
    began = time.monotonic()
    with agent_of(line), psycopg.connect(line.dsn, autocommit=True) as connection:
        used = "SELECT used, (nodes -> 'ast1' ->> 'concurrent_share')::int FROM limits_now WHERE limit_key = %s"
        until(lambda: connection.execute(used, (key,)).fetchone() == (3, 5), "the calls that go on are counted")
        await_share(line, key, "5")
        assert time.monotonic() - began < 10
        assert passed(Batch(line, "again", 4, talk_ms=500).wait()) == 2
        lasting.wait()


@pytest.mark.parametrize("with_the_agent", [False, True], ids=["asterisk and router", "agent, too"])
def test_what_died_is_not_counted(line: Line, with_the_agent: bool) -> None:
    """Killed at once, as a machine that loses its power; started again."""
    configure(
        line,
        "UPDATE peers SET max_concurrent = 5 WHERE name = 'sipp-vendor-2'",
        "UPDATE peers SET max_concurrent = 4 WHERE name = 'sipp-customer-1'",
    )
    key = key_of(line, "sipp-vendor-2")
    with ExitStack() as stack, psycopg.connect(line.dsn, autocommit=True) as connection:
        agent = stack.enter_context(agent_of(line))
        await_nothing_counted(line)
        await_share(line, key, "5")
        Batch(line, f"dying-{int(with_the_agent)}", 4, talk_ms=25_000)

        def used() -> dict[str, int]:
            return dict(connection.execute("SELECT peer, used FROM limits_now").fetchall())

        until(lambda: used() == {"sipp-vendor-2": 4, "sipp-customer-1": 4}, "four calls are counted on both sides")
        if with_the_agent:
            agent.send_signal(signal.SIGKILL)
        os.kill(line.asterisk_pid, signal.SIGKILL)
        line.kill_router()
        line.node.wait(20)
        if with_the_agent:
            stack.enter_context(agent_of(line))
        line.start_router()
        line.start_node()
        line.await_router()
        line.await_node()
        began = time.monotonic()  # how long the start itself takes is the machine's
        until(lambda: used() == {"sipp-vendor-2": 0, "sipp-customer-1": 0}, "nothing is counted")
        await_share(line, key, "5")
        assert time.monotonic() - began < 10
        await_reachable(line, "sipp-vendor-2")
        assert passed(Batch(line, f"after-{int(with_the_agent)}", 6, talk_ms=1_500).wait()) == 4
