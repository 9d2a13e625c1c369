"""Calls that died with their Asterisk before any line: found by hold or decision, closed once, the hold given back."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from crashed_calls import NEW, NODE, OLD, START_MS, call_id_of, call_lines
from hypothesis import given
from hypothesis import strategies as st
from small_world import make_small_world

from agent.ami.events import Seen
from agent.counters import Counters
from agent.journal.open_calls import ToldCalls
from agent.relay import Relay
from agent.restart.last_heartbeat import LastHeartbeat, store_heartbeat
from agent.restart.orphans import MAX_AT_ONCE, told_calls
from schemas import events
from schemas.events import CallEnded, decode_event, encode_event
from schemas.journal import decode_line
from schemas.journal_witness import is_witness, read_witness
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg

EXAMPLES = Path(events.__file__).parent / "examples"


def call_of(line: bytes) -> str:
    """The call that a whole line tells of: Asterisk's own lines do so by a vendor's answer alone."""
    if not is_witness(line):
        return decode_line(line).call_id
    witness = read_witness(line)
    return witness.call_id if witness is not None and witness.kind == "answer" and witness.leg else ""


@given(st.data())
def test_what_the_journal_tells_of_is_what_decoding_finds(data: st.DataObject) -> None:
    calls = range(6)
    lines = [line for number in calls for line in call_lines(number, ["answers"])]
    chosen = data.draw(st.lists(st.sampled_from(lines), max_size=6))
    text = b"".join(chosen)
    cut = data.draw(st.integers(0, 400))
    text = text[: len(text) - cut] if cut < len(text) else text
    size = data.draw(st.integers(1, 700))
    wanted = {call_id_of(number) for number in calls if number % 2}
    reading = ToldCalls(NODE, wanted)
    for first in range(0, len(text), size):
        reading.take(text[first : first + size])
    found = {call_of(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")}
    assert reading.told == found & wanted


def hold(connection: psycopg.Connection[Any], call_id: str, peer_id: int, account_id: int) -> None:
    connection.execute(
        "INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price,"
        " connect_fee, admitted_at, expires_at) VALUES (%s, %s, %s, %s, 0.06, 60, 60, 0.06, 0.01,"
        " to_timestamp(%s), now() + interval '1 hour')",
        (call_id, NODE, peer_id, account_id, Decimal(START_MS) / 1000),
    )
    connection.execute("UPDATE account_balances SET held = held + 0.06 WHERE account_id = %s", (account_id,))


def status() -> Seen:
    return Seen(1_000, [], {}, {}, {}, {})


@pytest.mark.servers
async def test_calls_without_a_line_are_closed_from_hold_or_decision(
    postgres_dsn: str, tmp_path: Path, settings_of: Any
) -> None:
    connection = psycopg.connect(postgres_dsn, autocommit=True)
    world = make_small_world(connection)
    unwritten, written, present, decided = (call_id_of(number) for number in range(4))
    present = present.replace(str(OLD), str(NEW))
    for call_id in (unwritten, written, present):
        hold(connection, call_id, world.originator, world.customer_account)
    routed: Any = decode_event((EXAMPLES / "call_routed.json").read_bytes())
    decision = msgspec.structs.replace(
        routed, call_id=decided, node=NODE, account_id=world.customer_account, customer_peer_id=world.originator,
        currency="USD", call_started_at_ms=START_MS + 7,
    )  # fmt: skip
    connection.execute(
        "INSERT INTO audit_open_calls VALUES (%s, %s, now(), now(), %s), ('x', %s, now(), NULL, '')",
        (decided, NODE, encode_event(decision).decode(), NODE),
    )
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / "Master.csv").write_bytes(b"".join(call_lines(1, ["answers"])[:1]))
    store_heartbeat(tmp_path, LastHeartbeat(OLD, START_MS + 900, 1, {unwritten: None}))
    counters = Counters(settings_of(tmp_path, node=NODE), "agent")
    closings: list[Any] = []
    counters.on_closed = closings.append
    counters.seen(status(), NEW, START_MS)
    counters._tell(connection)
    (closed,) = closings
    ends = {one.call_id: one for one in closed}
    assert ends.keys() == {unwritten, decided}
    for end in closed:
        assert (end.answered_at_ms, end.duration_ms, end.legs, end.estimated) == (None, 0, 0, True)
        assert (end.reason, end.release_side, end.event_id) == ("NODE DIED", "us", f"{end.call_id}/0:call_estimated")
        assert decode_event(encode_event(end)) == end
    first, second = ends[unwritten], ends[decided]
    assert (first.call_started_at_ms, first.ended_at_ms) == (START_MS, START_MS + 900)  # the last heartbeat listed it
    assert (second.call_started_at_ms, second.ended_at_ms) == (START_MS + 7, START_MS + 7)
    assert first.facts is not None
    assert (first.facts.account_id, first.facts.customer_peer_id, first.facts.price_e8) == (
        world.customer_account, world.originator, 6_000_000,
    )  # fmt: skip
    assert second.callee_dialled == decision.callee_dialled
    # Billed: nothing, once, and the hold is given back; the call of which there is a line is the restart's.
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as asynchronous:
        await Ledger(asynchronous).post([rate_leg(end) for end in closed])
    rows = connection.execute("SELECT reference, amount, revision FROM ledger_entries WHERE kind = 'leg' ORDER BY 1")
    assert rows.fetchall() == [(f"{call_id}/0", 0, 0) for call_id in sorted((unwritten, decided))]
    assert connection.execute("SELECT call_id FROM holds ORDER BY 1").fetchall() == [(written,), (present,)]
    connection.execute("DELETE FROM audit_open_calls WHERE call_id = %s", (decided,))  # as the auditor does
    counters._swept_epoch = 0
    counters.seen(status(), NEW, START_MS)
    counters._tell(connection)
    assert len(closings) == 1
    connection.close()


@pytest.mark.servers
def test_calls_without_a_line_are_found_behind_many_that_have_one(
    postgres_dsn: str, tmp_path: Path, settings_of: Any
) -> None:
    """Those that died at once are the newest: behind all that were up."""
    connection = psycopg.connect(postgres_dsn, autocommit=True)
    world = make_small_world(connection)
    written = [call_id_of(number) for number in range(MAX_AT_ONCE + 20)]
    unwritten = f"{max(written)}9"
    for call_id in (*written, unwritten):
        hold(connection, call_id, world.originator, world.customer_account)
    journal = tmp_path / "journal"
    journal.mkdir()
    lines = (call_lines(number, ["answers"])[0] for number in range(len(written)))
    (journal / "Master.csv").write_bytes(b"".join(lines))
    counters = Counters(settings_of(tmp_path, node=NODE), "agent")
    closings: list[Any] = []
    counters.on_closed = closings.append
    counters.seen(status(), NEW, START_MS)
    counters._tell(connection)
    assert [[one.call_id for one in closed] for closed in closings] == [[unwritten]]
    connection.close()


def test_too_large_a_journal_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Master.csv").write_bytes(b"".join(call_lines(1, ["answers"])))
    assert told_calls(NODE, tmp_path, {call_id_of(1)}, 0.0) == {call_id_of(1)}
    assert told_calls(NODE, tmp_path, {call_id_of(1)}, 1e12) == frozenset()  # nobody has written to it since
    monkeypatch.setattr("agent.restart.orphans.READ_LIMIT_BYTES", 10)
    assert told_calls(NODE, tmp_path, {call_id_of(1)}, 0.0) is None


def test_the_relay_sends_them_until_kafka_has_them(
    tmp_path: Path, settings_of: Any, broker: Any, away: type[Exception]
) -> None:
    example: Any = decode_event((EXAMPLES / "call_ended.estimated.json").read_bytes())
    end: CallEnded = msgspec.structs.replace(example, reason="NODE DIED")
    (tmp_path / "journal").mkdir()
    relay = Relay(settings_of(tmp_path), broker)
    relay.close([end])
    broker.then = [(away, 0)]
    with pytest.raises(away):
        relay.round()
    relay.round()
    relay.round()
    assert broker.events() == [end]
    assert relay.estimated == 1
