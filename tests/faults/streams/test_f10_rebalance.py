"""F10: workers come and go under load, a stopped one wakes after its partitions were given away: one entry a leg."""

import random
import signal
import time
from typing import Any

import psycopg
import pytest
from fault_line import ServersLine
from feeder import Feeder
from made_legs import Ended, make_legs, produce_events

from schemas.events import CallEnded, LegAnswered, LegEnded, LegStarted
from schemas.live import LIVE_CALL_DECODER, LiveCall
from schemas.topics import ACTIVE_CALLS, CALLS
from streams.folds import live
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]
BILLING = {"streams-1": 0, "streams-4": 1, "streams-5": 2, "streams-6": 3}


@pytest.mark.long
def test_f10_two_and_four_workers_under_load(line: ServersLine, chance: random.Random) -> None:
    ended = make_legs(line.parties, 13, 1_500)
    options = {"batch_messages": 10, "batch_seconds": 0.05, "commit_seconds": 2}
    first, second, *others = BILLING
    line.start(first, "billing", **options)
    line.start("streams-2", "cdrs", insert_seconds=0.2)
    line.until(lambda: line.working(first, "streams-2"))
    feeder = Feeder(line.kafka, ended, 45, in_a_frame=5)
    line.start(second, "billing", instance=1, **options)
    line.start("streams-7", "cdrs", instance=1, insert_seconds=0.2)
    line.until(lambda: line.working(first, second, "streams-7"))
    for name in others:
        line.start(name, "billing", instance=BILLING[name], **options)
    line.until(lambda: line.working(*BILLING))
    killed, asked = chance.sample(list(BILLING), 2)
    for name, ends in ((killed, lambda: line.kill(killed)), (asked, lambda: line.signal(asked, signal.SIGTERM))):
        before = line.posted()
        line.until(lambda: line.posted() > before)  # noqa: B023
        ends()
        line.until(lambda: not line.alive(name))  # noqa: B023
        time.sleep(chance.uniform(0, 8))  # before and after the others get its partitions
        line.start(name, "billing", instance=BILLING[name], **options)
        line.until(lambda: line.working(name))  # noqa: B023
    assert feeder.busy, "the load ended before the rebalances did"
    feeder.finish()
    line.until(lambda: line.posted() == len(ended) == line.written())
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    assert line.repeated(*BILLING) > 0
    line.end()
    report("F10 rebalances with 2 and 4 workers", 2, len(ended), line.repeated(*BILLING), "equal")


def stop_in_transaction(line: ServersLine, name: str) -> None:
    """SIGSTOP one of two workers while it has a transaction open: the worst moment to be stopped at.

    The accounts are locked until both wait for them; the lock is let go when the one is stopped.
    """
    deadline = time.monotonic() + 60
    with psycopg.connect(line.dsn, autocommit=True) as watching:
        while time.monotonic() < deadline:
            with psycopg.connect(line.dsn) as holding:
                holding.execute("SELECT FROM account_balances ORDER BY account_id FOR UPDATE")  # as the ledger does
                waited = time.monotonic() + 5
                while _backends(watching, "wait_event_type = 'Lock'") < 2 and time.monotonic() < waited:
                    time.sleep(0.02)
                line.signal(name, signal.SIGSTOP)
            time.sleep(0.3)
            if _backends(watching, "state = 'idle in transaction' AND state_change < now() - interval '200 ms'"):
                return
            line.signal(name, signal.SIGCONT)
    raise AssertionError("it was never stopped in a transaction")


def _backends(connection: psycopg.Connection[Any], state: str) -> int:
    """How many of the workers' connections are in a state."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'streams-billing' AND {state}"
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("guarded", [True, pytest.param(False, marks=pytest.mark.long)])
def test_f10_a_zombie_that_wakes_writes_nothing_twice(line: ServersLine, chance: random.Random, guarded: bool) -> None:
    ended = make_legs(line.parties, 14, 700)
    options = {"batch_messages": 5, "batch_seconds": 0.02, "commit_seconds": 2}
    if not guarded:
        options["asleep_seconds"] = 3600
    line.start("streams-1", "billing", **options)
    line.start("streams-4", "billing", instance=1, **options)
    line.start("streams-2", "cdrs")
    line.until(lambda: line.working("streams-1", "streams-4", "streams-2"))
    feeder = Feeder(line.kafka, ended, 7, in_a_frame=2)
    time.sleep(chance.uniform(1, 3))
    stop_in_transaction(line, "streams-4")
    feeder.finish()
    # The other one gets the partitions after the session, and the locks when the server has ended the transaction.
    line.until(lambda: line.posted() == len(ended), alive=["streams-1", "streams-4"])
    line.signal("streams-4", signal.SIGCONT)
    if guarded:
        line.until(lambda: not line.alive("streams-4"))
        assert line.returncode("streams-4") == 1
        assert line.said("streams-4", "did not run for")
    else:
        time.sleep(3)
    line.until(lambda: line.written() == len(ended))
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    repeated = line.repeated("streams-1", "streams-4")
    assert repeated > 0
    line.end()
    name = "ends itself" if guarded else "goes on"
    report(f"F10 zombie wakes and {name}, stopped in a transaction", 1, len(ended), repeated, "equal")


def going_on(ended: list[Ended], at_ms: int) -> list[LegStarted]:
    """Calls that go on: one started leg of each call that had one."""
    inbound = {leg.call_id: leg for leg in ended if isinstance(leg, CallEnded)}
    return [
        LegStarted(
            event_id=f"{leg.call_id}/1:leg_started", call_id=leg.call_id, leg=1, started_at_ms=at_ms,
            call_started_at_ms=at_ms, facts=leg.facts, call_facts=facts,
        )
        for leg in ended
        if isinstance(leg, LegEnded) and leg.leg == 1 and (facts := inbound[leg.call_id].facts) is not None
    ]  # fmt: skip


def folded(events: list[Any]) -> dict[str, LiveCall]:
    """What the table should hold: all events of each call applied."""
    calls: dict[str, LiveCall] = {}
    for event in events:
        calls[event.call_id] = live.apply(calls.get(event.call_id) or live.new_call(event.call_id), event)
    return calls


@pytest.mark.long
def test_f10_live_tables_survive_rebalances(line: ServersLine, chance: random.Random) -> None:
    now_ms = time.time_ns() // 1_000_000
    started = going_on(make_legs(line.parties, 15, 400), now_ms)
    answered = [
        LegAnswered(event_id=f"{one.call_id}/1:leg_answered", call_id=one.call_id, leg=1, answered_at_ms=now_ms + 2_000)
        for one in started
    ]
    assert len(started) > 200

    def shown() -> dict[str, LiveCall]:
        return {key: LIVE_CALL_DECODER.decode(raw) for key, raw in line.table(ACTIVE_CALLS).items()}

    line.start("streams-3", "live")
    line.start("streams-8", "live", instance=1)
    line.until(lambda: line.working("streams-3", "streams-8"))
    third = len(answered) // 3
    produce_events(line.kafka, CALLS, started)
    line.until(lambda: shown() == folded(started), alive=["streams-3", "streams-8"])
    kills = 0
    for turn in range(3):
        gone = chance.choice(["streams-3", "streams-8"])
        part = answered[turn * third : (turn + 1) * third if turn < 2 else None]
        produce_events(line.kafka, CALLS, part[: len(part) // 2], in_a_frame=2)
        line.kill(gone)
        kills += 1
        if turn:
            time.sleep(8)  # the other one has taken its partitions, and restored their tables
        produce_events(line.kafka, CALLS, part[len(part) // 2 :], in_a_frame=2)
        line.start(gone, "live", instance=int(gone == "streams-8"))
        line.until(lambda: line.working("streams-3", "streams-8"))
    wanted = folded([*started, *answered])
    line.until(lambda: shown() == wanted, alive=["streams-3", "streams-8"])
    assert all(call.legs[0].answered_at_ms == now_ms + 2_000 and call.call_facts for call in shown().values())
    line.end()
    report("F10 live tables over rebalances of 2 workers", kills, len(started), 0, "tables equal to the fold")
