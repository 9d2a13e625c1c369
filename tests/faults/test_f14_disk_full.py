"""F14: the disk under the journal is nearly full, then the agent and the router cannot write at all: new calls are
refused before that, those in progress are journalled and billed to their end, and nobody falls over.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from resource import RLIM_INFINITY
from typing import Any

import msgspec
import psycopg
import pytest
from agi_client import ask, header
from fault_line import FaultLine, verdict
from made_legs import Ended, journal_line
from small_world import add_route, make_small_world

from schemas.events import CallEnded, CallRouted, LegEnded, decode_event
from schemas.facts import decode_facts
from schemas.topics import DECISIONS
from sinks.audit.full.sources import read_topic
from streamco.embedded.temporary import free_port
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.servers]
NODE = "ast1"
EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
TALK_MS = 30_000
Variables = dict[str, str]


@pytest.fixture
def ballast(tmp_path: Path) -> Iterator["Ballast"]:
    made = Ballast(tmp_path)
    yield made
    made.drop()


class Ballast:
    """A file on the journal's disk, large enough to take it below a reserve that is little less than what is free."""

    def __init__(self, directory: Path) -> None:
        free = shutil.disk_usage(directory).free
        self._step = min(1 << 30, free // 4)  # so much more than other tests write or delete meanwhile
        self._path = directory / "ballast"
        self.reserve_bytes = free - self._step

    def take(self) -> None:
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * self._step)

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)


class Caller:
    """Asks the router as the dialplan does, and writes what the dialplan would write."""

    def __init__(self, line: FaultLine, journal: Path) -> None:
        self.line, self.journal = line, journal
        self.port = free_port()
        self.epoch = int(time.time()) - 100
        self.calls = 0
        self.up: dict[str, tuple[int, Variables]] = {}

    def call(self) -> Variables:
        """One call; a refused one is journalled at once, any other is in progress."""
        self.calls += 1
        now_ms = time.time_ns() // 1_000_000
        call_id = f"{NODE}-{self.epoch}-{now_ms // 1000:010d}.{self.calls}"
        sent = header(call_id, "c-buyer", "127.0.0.10:5060", "447700900123", "12125550123", f"{now_ms / 1000:.3f}")
        answer = asyncio.run(ask(self.port, sent))
        assert answer is not None
        if answer["DECISION"] == "ALLOW":
            self.up[call_id] = now_ms, answer
        else:
            refused = example("call_ended.refused", CallEnded)
            self.write(msgspec.structs.replace(refused, reason=answer["REASON"], **moments(call_id, now_ms, 0, answer)))
        return answer

    def hang_up(self) -> None:
        """All calls in progress end, answered, and are journalled."""
        for call_id, (start_ms, answer) in self.up.items():
            facts = decode_facts(answer["ROUTE_1_FACTS"])
            whole = {**moments(call_id, start_ms, TALK_MS, answer), "answered_at_ms": start_ms + 4_000}
            whole |= {"ended_at_ms": start_ms + 4_000 + TALK_MS, "duration_ms": TALK_MS}
            whole |= {"asterisk_duration_ms": TALK_MS, "clock_disagreement": False}
            leg = {**whole, "event_id": f"{call_id}/1:leg_ended", "leg": 1, "facts": facts}
            self.write(msgspec.structs.replace(example("leg_ended", LegEnded), **leg))
            self.write(msgspec.structs.replace(example("call_ended", CallEnded), **whole, legs=1, last_facts=facts))
        self.up.clear()

    def write(self, ended: Ended) -> None:
        with self.journal.open("ab") as file:
            file.write(journal_line(ended))


def example(name: str, kind: type[Any]) -> Any:
    event = decode_event((EXAMPLES / f"{name}.json").read_bytes())
    assert isinstance(event, kind)
    return event


def moments(call_id: str, start_ms: int, talk_ms: int, answer: Variables) -> dict[str, Any]:
    return {
        "event_id": f"{call_id}/0:call_ended", "call_id": call_id, "call_started_at_ms": start_ms,
        "started_at_ms": start_ms, "ended_at_ms": start_ms + talk_ms, "facts": decode_facts(answer["CALL_FACTS"]),
    }  # fmt: skip


def count(line: FaultLine, statement: str) -> int:
    with psycopg.connect(line.postgres.dsn.get_secret_value()) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return int(row[0]) if row else 0


@pytest.mark.timeout(280)
def test_the_disk_is_nearly_full_and_then_full(line: FaultLine, ballast: Ballast) -> None:
    node = line.directory / NODE
    (node / "journal").mkdir(parents=True)
    caller = Caller(line, node / "journal" / "Master.csv")
    with psycopg.connect(line.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        add_route(connection, make_small_world(connection, credit_limit=Decimal(100)))
    for role in ("billing", "cdrs"):
        line.start_worker(role)

    def start_agent() -> None:
        line.start_agent(node, NODE, disk_reserve_bytes=ballast.reserve_bytes)

    start_agent()
    line.start_router(caller.port, disk_reserve_bytes=1 << 20)
    line.until((line.beat_path("router")).exists)
    assert [caller.call()["REASON"] for _ in range(5)] == [""] * 5

    # Nearly full: refused, by name; what is up goes on.
    ballast.take()
    line.until(lambda: caller.call()["REASON"] == "NODE DISK FULL")
    answer = caller.call()
    assert (answer["DECISION"], answer["REASON"], answer["REFUSE_CAUSE"]) == ("REFUSE", "NODE DISK FULL", "34")
    assert len(caller.up) >= 5

    # Full: the agent cannot store how far it was. The calls in progress are billed all the same.
    state = node / "agent.json"
    line.until(lambda: count(line, "SELECT count(*) FROM ledger_entries") > 0)
    line.may_write(f"agent-{NODE}", 64)  # bytes a file: as good as a full disk
    time.sleep(1.0)
    before = state.read_bytes()
    ended = len(caller.up)
    caller.hang_up()
    line.until(lambda: count(line, "SELECT count(*) FROM ledger_entries WHERE amount < 0") >= ended)
    time.sleep(1.0)
    assert line.alive(f"agent-{NODE}"), line.tails()
    assert state.read_bytes() == before
    assert caller.call()["REASON"] == "NODE DISK FULL"
    line.kill(f"agent-{NODE}")  # and what it could not store is sent once more
    start_agent()
    line.until(lambda: line.repeats() >= 2 * ended)
    line.until(lambda: state.read_bytes() != before)

    # Room again: admitted again. Then the spool is full: while Kafka takes decisions, they need no file.
    ballast.drop()
    line.until(lambda: caller.call()["REASON"] == "")
    line.may_write("router", 64)
    assert [caller.call()["REASON"] for _ in range(3)] == [""] * 3
    last = f".{caller.calls}"
    decided = (one for one in iter(lambda: read_topic(line.kafka, DECISIONS), None))
    line.until(lambda: any(isinstance(one, CallRouted) and one.call_id.endswith(last) for one in next(decided)))
    line.may_write("router", RLIM_INFINITY)
    caller.hang_up()
    audited = line.audit({NODE: node / "journal"})
    report("F14 disk nearly full, full under agent and spool", 3, audited.legs.rated, line.repeats(), verdict(audited))
    assert audited.ok, audited.differences
    assert audited.holds_open == 0
    assert audited.legs.undecodable == 0
    assert audited.legs.journal == audited.legs.ledger == audited.legs.cdr >= 20
