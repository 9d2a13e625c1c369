"""The auditor over real stores: equal is ok, in flight and repeated too; what is spoilt is named, and seen mended."""

from datetime import timedelta

import msgspec
import pytest
from audit_world import START, World, said
from made_legs import make_legs

from runtime.connections import Kafka
from runtime.topics import TopicError
from schemas.events import RatedLeg, decode_event
from sinks.audit.continuous.main import Auditor
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers


async def test_what_flows_is_equal_in_flight_repeated_and_at_rest(world: World, legs: list[RatedLeg]) -> None:
    old, new = legs[:60], legs[60:]
    world.rate(old)
    await world.post(old)
    world.write(old)
    run = world.run()  # it begins: what is there is counted, what billing has not acknowledged is read again
    assert (run.differences, run.counts["rated"], run.counts["compared"]) == ([], 60, 60)
    world.rate(new)
    assert (world.run(1).differences, world.run(1).counts["waiting"]) == ([], len(new))
    await world.post(new)
    run = world.run(1)
    assert (run.differences, run.counts["posted"]) == ([], len(new))
    world.write(new)
    run = world.run(1)
    assert (run.differences, run.counts["waiting"]) == ([], 0)
    world.rate(old[:10])  # a worker was killed: rated, posted and written again
    await world.post(old[:10])
    world.write(old[:10])
    run = world.run()
    assert (run.differences, run.counts) == ([], {"rated": 10, "posted": 0, "compared": 10, "waiting": 0})
    run = world.run(300)  # the hours are at rest now, and are compared whole
    assert run.differences == []
    assert world.sql("SELECT bool_and(compared), sum(legs) FROM audit_hours") == [(True, len(legs))]
    assert world.sql("SELECT count(*), bool_and(ok) FROM audit_runs") == [(7, True)]


async def test_another_process_goes_on_where_this_one_stood(world: World, legs: list[RatedLeg]) -> None:
    world.rate(legs[:50])
    assert world.run().counts["waiting"] == 50
    world.auditor.close()
    world.auditor = Auditor(world.settings, lambda: world.now)
    await world.post(legs[:50])
    world.write(legs[:50])
    run = world.run()
    assert (run.differences, run.counts) == ([], {"rated": 0, "posted": 50, "compared": 50, "waiting": 0})
    second = Auditor(world.settings)
    assert not second.lock()
    second.close()


async def test_what_is_read_in_slices_is_equal_too(world: World, legs: list[RatedLeg]) -> None:
    world.auditor.close()
    world.auditor = Auditor(world.settings.model_copy(update={"most_messages": 2}), lambda: world.now)
    assert world.run().more is False
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    runs = [world.run(1)]
    while runs[-1].more:
        runs.append(world.run(1))
    assert len(runs) > 2
    assert [run.differences for run in runs] == [[]] * len(runs)
    assert (sum(run.counts["rated"] for run in runs), runs[-1].counts["waiting"]) == (len(legs), 0)


async def test_each_store_is_spoilt_and_mended_in_turn(world: World, legs: list[RatedLeg]) -> None:
    world.run()
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    assert world.run().differences == []
    leg = next(leg for leg in legs if leg.side == "payable" and leg.amount_micros)
    account = f"account {leg.account_id}"
    world.sql(f"UPDATE account_balances SET balance = balance + 0.000001 WHERE account_id = {leg.account_id}")
    assert said(world.run()) == {("balance is not the sum of its entries", account)}
    world.sql(f"UPDATE account_balances SET balance = balance - 0.000001 WHERE account_id = {leg.account_id}")
    assert world.run(300).differences == []
    # Rated, and never posted: a difference once it has waited long enough.
    lost = [rate_leg(one) for one in make_legs(_parties(world), 9, 2, 1_795_610_000_000)]
    world.rate(lost)
    assert world.run().differences == []
    assert said(world.run()) == {("rated leg not in the ledger", one.leg_id) for one in lost}
    await world.post(lost)
    assert said(world.run()) == {("rated leg without CDR", one.leg_id) for one in lost}
    ((since, seen, resolved),) = world.sql(
        "SELECT min(since), max(last_seen_at), max(resolved_at) FROM audit_differences"
        " WHERE kind = 'rated leg not in the ledger'"
    )
    assert since < seen < resolved  # type: ignore[operator]
    world.write(lost)
    assert world.run().differences == []
    # A CDR that nobody rated shows when its hour is at rest, and by its leg.
    world.clickhouse(f"ALTER TABLE legs DELETE WHERE leg_id = '{leg.leg_id}'")
    world.sql("UPDATE audit_hours SET compared = false")
    assert said(world.run(300)) == {("posted leg without CDR", leg.leg_id)}
    world.write([leg])
    assert world.run(300).differences == []


async def test_holds_that_are_wrong_are_named(world: World, legs: list[RatedLeg]) -> None:
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    inbound = next(leg for leg in legs if leg.side == "receivable")
    columns = "call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds"
    values = f"'sim1', 1, {inbound.account_id}, 1, 60, 60"
    going, over = "sim1-1795000000-1795608000.99", inbound.ended.call_id
    for call_id, expires in ((going, START - timedelta(hours=1)), (over, START + timedelta(days=1))):
        world.sql(
            f"INSERT INTO holds ({columns}, admitted_at, expires_at) VALUES ('{call_id}', {values}, now(), '{expires}')"
        )
    world.hear("sim1", going, ago_seconds=-61)
    assert said(world.run()) == {
        ("held is not the sum of its holds", f"account {inbound.account_id}"),
        ("hold of a call that has ended", f"{over}/0"),
        ("hold past its expiry", f"{going}/0"),
    }
    world.sql("DELETE FROM holds")
    assert world.run().differences == []


async def test_an_admitted_call_without_an_end_is_named_unless_it_is_up(world: World, legs: list[RatedLeg]) -> None:
    ended = next(leg for leg in legs if leg.side == "receivable").ended.call_id
    vanished, up, late = (f"sim1-1795000000-1795608000.{number}" for number in (1, 10, 11))
    world.run()
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    world.admit(ended, vanished, up)
    world.admit("sim1-1795000000-1795608000.2", reason="NO ROUTE")
    assert world.run(1).differences == []  # too young to be looked at
    world.hear("sim1", up)
    assert world.run(2).differences == []
    assert world.sql("SELECT count(*) FROM audit_open_calls") == [(0,)]
    world.now += timedelta(seconds=58)
    world.hear("sim1", up)
    assert world.run(1).differences == []  # looked at, and missing: it may be on its way
    # Of what is missing the decision is kept, for the agent that may have to close it.
    assert world.sql("SELECT call_id, missing_since IS NULL, decision <> '' FROM audit_open_calls ORDER BY 1") == [
        (vanished, False, True), (up, True, False)
    ]  # fmt: skip
    ((kept,),) = world.sql("SELECT decision FROM audit_open_calls WHERE decision <> ''")
    assert decode_event(str(kept).encode()).call_id == vanished  # type: ignore[union-attr]
    world.admit(late)  # stored later than it was routed: it comes with what is new
    world.now += timedelta(seconds=59)
    world.hear("sim1", up, late)
    assert said(world.run(1)) == {("admitted call without an end", f"{vanished}/0")}
    world.now += timedelta(seconds=90)
    run = world.run(1)  # nobody has heard of the node for long: nothing is known of its calls
    ((kind, subject, detail),) = [(one.kind, one.subject, one.detail) for one in run.differences]
    assert (kind, subject) == ("not verified: calls of a silent node", "sim1")
    assert set(detail.split(", ")) == {vanished, up, late}
    # The calls end: their inbound legs are in the ledger, or were discarded as dead letters.
    world.hear("sim1")
    inbound = next(leg for leg in legs if leg.side == "receivable")
    for call_id in (up, vanished):
        closing = msgspec.structs.replace(inbound.ended, call_id=call_id, event_id=f"{call_id}/0:call_ended")
        legs_of = [msgspec.structs.replace(inbound, leg_id=f"{call_id}/0", ended=closing)]
        world.rate(legs_of)
        await world.post(legs_of)
        world.write(legs_of)
    world.sql(
        "INSERT INTO dead_letters (origin, source, reason, raw, at)"
        f" VALUES ('journal:sim1:Master.csv:0', 'journal', 'no', '|call={late}|', now())"
    )
    assert said(world.run(1)) == {("open dead letter", "journal:sim1:Master.csv:0")}
    assert world.sql("SELECT call_id FROM audit_open_calls") == [(late,)]
    world.sql("UPDATE dead_letters SET state = 'discarded', decided_by = 'me', decided_why = 'so', decided_at = now()")
    assert world.run(1).differences == []
    assert world.sql("SELECT count(*) FROM audit_open_calls") == [(0,)]


async def test_a_hold_of_a_call_that_is_not_up_is_named(world: World, legs: list[RatedLeg]) -> None:
    columns = "call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, admitted_at, expires_at"
    account = world.sql("SELECT min(account_id) FROM accounts WHERE company_id IS NOT NULL")[0][0]
    at = f"'sim1', 1, {account}, 0, 60, 60, '{START}', '{START + timedelta(days=1)}'"
    up, gone, counted = (f"sim1-1795000000-1795608000.{number}" for number in (1, 2, 3))
    for call_id in (up, gone, counted):
        world.sql(f"INSERT INTO holds ({columns}) VALUES ('{call_id}', {at})")
    world.now += timedelta(seconds=20)
    world.hear("sim1", up)
    assert world.run(1).differences == []  # all of them too young for that heartbeat
    world.now += timedelta(seconds=100)
    world.hear("sim1", up)
    world.sql(f"UPDATE holds SET counted = false, gone_at = '{world.now}' WHERE call_id = '{gone}'")
    # One counts on, though its node does not list it: no agent leaves it so. The other may have ended just now.
    assert said(world.run(1)) == {("hold of a call that is not up", f"{counted}/0")}
    world.now += timedelta(seconds=60)
    world.hear("sim1", up)
    assert said(world.run(1)) == {("hold of a call that is not up", f"{one}/0") for one in (gone, counted)}
    world.now += timedelta(seconds=100)
    assert [(one.kind, one.subject) for one in world.run(1).differences] == [
        ("not verified: calls of a silent node", "sim1")
    ]
    world.sql("DELETE FROM holds")
    assert world.run(1).differences == []


def test_letters_that_wait_for_room_are_named_by_their_peer(world: World) -> None:
    world.run()
    world.sql("INSERT INTO waiting_letters VALUES (7, 1, 40, 60), (7, 3, 5, 9), (8, 0, 1, 2)")
    run = world.run(1)
    assert said(run) == {("dead letters that wait for room", "peer 7"), ("dead letters that wait for room", "peer 8")}
    assert {"dead-letters/1 from 40", "dead-letters/3 from 5"} == set(run.differences[0].detail.split(", "))


def _parties(world: World) -> object:
    from made_legs import Parties

    rows = world.sql("SELECT company_id, account_id FROM accounts WHERE company_id IS NOT NULL")
    return Parties({int(str(company)): int(str(account)) for company, account in rows})


def test_a_broker_that_is_away_keeps_nothing_of_a_run(world: World) -> None:
    world.run()
    before = world.sql("SELECT posted_xact, rated_offsets FROM audit_state")
    world.auditor.close()
    world.auditor = Auditor(world.settings.model_copy(update={"kafka": Kafka(bootstrap="127.0.0.1:1")}))
    with pytest.raises(TopicError, match="does not answer"):
        world.auditor.run()
    assert world.sql("SELECT posted_xact, rated_offsets FROM audit_state") == before
