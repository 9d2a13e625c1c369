"""F9: a real Asterisk is killed with calls up: they are closed at the last heartbeat, billed, flagged; a true end that
comes later makes one correcting entry."""

import os
import signal
import time
from typing import Any

import psycopg
import pytest
from fault_line import FaultLine, verdict
from journal_events import events_of
from real_line import CALLER, NODE, Line

from runtime.clickhouse import connect
from schemas.events import CallEnded, LegEnded, LegStarted, NodeHeartbeat, encode_event
from schemas.journal import encode_line, split_at_length
from schemas.topics import NODES
from simulator.sipp import scenarios
from sinks.audit.full.sources import read_topic
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.asterisk]
TALKING = 3
HEARTBEAT_SECONDS = 0.3
LATE_TALK_MS = 25_500


def heartbeats(line: FaultLine) -> list[NodeHeartbeat]:
    return [event for event in read_topic(line.kafka, NODES) if isinstance(event, NodeHeartbeat)]


def entries(line: FaultLine) -> dict[str, list[tuple[str, int, int]]]:
    """Each leg's entries: (kind, revision, micros), in the order of their revisions."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    with psycopg.connect(line.postgres.dsn.get_secret_value()) as connection:
        rows = connection.execute(
            "SELECT reference, kind, revision, (amount * 1000000)::bigint FROM ledger_entries"
            " WHERE kind <> 'payment' ORDER BY revision"
        )
        for reference, kind, revision, micros in rows:
            found.setdefault(reference, []).append((kind, revision, micros))
    return found


def late_lines(journal: bytes, call_id: str) -> bytes:
    """What the dialplan would have written, had it lived: both closing lines of a call, LATE_TALK_MS long."""
    own = [line for line in journal.splitlines(keepends=True) if call_id.encode() in line]
    start = split_at_length([line for line in own if b"LEG_START" in line][-1])[1]
    answer = next(float(line.split(b'"')[3]) for line in own if b'"ANSWER"' in line)
    end = f"{answer + LATE_TALK_MS / 1000:.3f}"
    shared = {
        "call": call_id, "end": end, "ansms": str(LATE_TALK_MS), "status": "ANSWER", "cause": "16", "src": "caller",
    }  # fmt: skip
    leg = {
        **shared, "leg": start["leg"], "begin": start["begin"], "start": start["at"], "facts": start["facts"],
    }  # fmt: skip
    call = {**shared, "start": start["begin"], "legs": start["leg"], "facts": start["cfacts"], "last": start["facts"]}
    stamp = f"{end}000"
    return encode_line("LEG_RESULT", stamp, leg) + encode_line("CALL_END", stamp, call)


def sums_of(rows: list[tuple[str, int, int]]) -> int:
    return sum(micros for _, _, micros in rows)


def admit_unwritten(line: FaultLine) -> str:
    """A call as the router's admission leaves it that is killed before its first line: its hold, like another's."""
    columns = "node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price, connect_fee, admitted_at,"
    columns += " expires_at, limit_keys"
    with psycopg.connect(line.postgres.dsn.get_secret_value()) as connection:
        row = connection.execute(
            f"INSERT INTO holds (call_id, {columns}) SELECT call_id || '9999', {columns} FROM holds LIMIT 1"
            " RETURNING call_id, account_id, amount"
        ).fetchone()
        assert row is not None
        connection.execute("UPDATE account_balances SET held = held + %s WHERE account_id = %s", (row[2], row[1]))
    return str(row[0])


@pytest.mark.timeout(280)
def test_asterisk_is_killed_with_calls_up(line: FaultLine, asterisk: Line) -> None:
    node = asterisk.directory / "node"
    journals = {NODE: node / "journal"}

    def start_agent() -> None:
        line.start_agent(node, NODE, asterisk.ami_port, heartbeat_seconds=HEARTBEAT_SECONDS)

    for role in ("billing", "cdrs"):
        line.start_worker(role)
    start_agent()
    whole = asterisk.call("whole", "999210000010", scenarios.caller_talks(CALLER, 1_000))
    whole.wait()
    up = [
        asterisk.call(f"up-{number}", "999220000010", scenarios.caller_talks(CALLER, 120_000))
        for number in range(TALKING)
    ]
    rings = asterisk.call("rings", "999270000010", scenarios.caller_gives_up(CALLER, 20_000))

    def all_up() -> bool:
        seen = heartbeats(line)
        return bool(seen) and sum(call.answered and call.seconds >= 2 for call in seen[-1].calls) == TALKING

    line.until(all_up)
    time.sleep(2.0)
    unwritten = admit_unwritten(line)
    os.kill(asterisk.asterisk_pid, signal.SIGKILL)
    killed_at_ms = time.time_ns() // 1_000_000
    line.kills += 1
    assert asterisk.node.wait(20) != 0  # its launcher says so by ending
    for placed in (*up, rings):
        placed.process.kill()
        placed.process.wait()
    journal = asterisk.journal.read_bytes()
    events = events_of(one for one in journal.splitlines(keepends=True) if one.endswith(b"\n"))
    ended = {event.call_id for event in events if isinstance(event, CallEnded)}
    dead = {event.call_id for event in events if isinstance(event, LegStarted)} - ended
    assert len(dead) >= TALKING
    asterisk.start_node()
    # While the new Asterisk boots and the dead calls are closed, the agent is killed a few times too.
    for pause_seconds in (0.0, 0.9, 1.1, 1.3):
        time.sleep(pause_seconds)
        line.kill(f"agent-{NODE}")
        start_agent()
    asterisk.await_node()

    def estimated() -> list[LegEnded | CallEnded]:
        return [event for event in line.closings() if event.estimated]

    line.until(lambda: {one.call_id for one in estimated() if isinstance(one, CallEnded)} == dead | {unwritten})
    (lost,) = {one.event_id: one for one in estimated() if one.call_id == unwritten}.values()
    assert isinstance(lost, CallEnded)
    assert (lost.reason, lost.answered_at_ms, lost.duration_ms, lost.legs) == ("NODE DIED", None, 0, 0)
    first = line.audit(journals)
    assert first.ok, first.differences
    assert first.legs.estimated == len({one.event_id for one in estimated()})
    assert first.holds_open == 0
    assert len({encode_event(one) for one in estimated()}) == first.legs.estimated  # repeats say the same
    talked = [one for one in estimated() if one.answered_at_ms is not None]
    assert len({one.event_id for one in talked}) == 2 * TALKING  # both legs of each
    for one in talked:
        assert killed_at_ms - 3_000 < one.ended_at_ms <= killed_at_ms  # at the last heartbeat
        assert one.answered_at_ms is not None
        assert abs(one.duration_ms - (one.ended_at_ms - one.answered_at_ms)) < 700
        assert one.duration_ms > 1_000
    posted = entries(line)
    assert {posted[one.event_id.rpartition(":")[0]][0][:2] for one in estimated()} == {("leg", 0)}
    late = min(one.call_id for one in talked)
    assert sums_of(posted[f"{late}/0"]) < 0  # billed
    with asterisk.journal.open("ab") as file:
        file.write(late_lines(journal, late))
    line.until(lambda: len(entries(line).get(f"{late}/0", [])) == 2)
    # The agent's state is lost: the whole journal is read, and what is still open closed, once more and alike.
    line.kill(f"agent-{NODE}")
    (node / "agent.json").unlink()
    start_agent()
    line.until(lambda: line.repeats() >= first.legs.rated - 3)
    assert len({encode_event(one) for one in estimated()}) == first.legs.estimated
    second = line.audit(journals)
    repeats = line.repeats()
    report("F9 Asterisk killed with calls up", line.kills, second.legs.rated, repeats, verdict(second))
    assert second.ok, second.differences
    assert second.legs.estimated == first.legs.estimated - 2
    corrected = {leg_id: rows for leg_id, rows in entries(line).items() if rows != posted.get(leg_id)}
    assert set(corrected) == {f"{late}/0", f"{late}/{leg_number(line, late)}"}
    for rows in corrected.values():
        assert [row[:2] for row in rows] == [("leg", 0), ("correction", 1)]
    with connect(line.clickhouse) as client:
        cdrs = client.query(
            "SELECT leg_id, estimated, duration_ms FROM legs FINAL WHERE call_id = {call:String}", {"call": late}
        ).result_rows
    assert {(row[1], row[2]) for row in cdrs if row[0] in corrected} == {(False, LATE_TALK_MS)}
    # The new Asterisk goes on, with another epoch.
    again: Any = asterisk.call("again", "999210000010", scenarios.caller_talks(CALLER, 500)).wait()
    assert asterisk.calls_of([again.address])[again.address].ended.duration_ms > 0


def leg_number(line: FaultLine, call_id: str) -> int:
    """The leg that carried the call."""
    return next(one.legs for one in line.closings() if isinstance(one, CallEnded) and one.call_id == call_id)
