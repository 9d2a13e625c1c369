"""CDRs on the real ClickHouse: every field of every row is the event's, and a repeat replaces itself."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from made_legs import NOON_MS, Parties, make_legs
from made_traffic import DESTINATIONS, NAMES, PEERS, make_traffic

import schemas
from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from schemas.events import CallEnded, LegEnded, RatedLeg, decode_event
from sinks.audit.full.sources import read_cdrs
from sinks.cdrs import drop_replaced_estimates, ids_named, write_decisions, write_legs
from sinks.dimensions import Dimensions
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers
PARTIES = Parties({number: 1000 + number for number in PEERS})
DAY_MS = 86_400_000


@pytest.fixture
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    with connect(clickhouse) as client:
        yield client


def rated(seed: int = 1, calls: int = 60, from_ms: int = NOON_MS) -> list[RatedLeg]:
    return [rate_leg(ended) for ended in make_legs(PARTIES, seed, calls, from_ms)]


def rows_of(client: Client, columns: str = "*", final: bool = True) -> list[dict[str, Any]]:
    answer = client.query(f"SELECT {columns} FROM legs{' FINAL' if final else ''} ORDER BY leg_id")
    return [dict(row) for row in answer.named_results()]


def moment(at_ms: int | None) -> datetime | None:
    """As the client gives times: UTC, without saying so."""
    return None if at_ms is None else datetime(1970, 1, 1) + timedelta(milliseconds=at_ms)


def wanted_row(leg: RatedLeg) -> dict[str, Any]:
    """The CDR of a leg, written down a second time: by hand, field by field."""
    ended = leg.ended
    inbound = ended if isinstance(ended, CallEnded) else None
    outbound = ended if isinstance(ended, LegEnded) else None
    facts = ended.facts
    vendor = outbound.facts if outbound else inbound.last_facts if inbound else None
    destination = DESTINATIONS[facts.destination_id] if facts else ("", "")
    return {
        "start_time": moment(ended.started_at_ms),
        "call_start_time": moment(ended.call_started_at_ms),
        "answer_time": moment(ended.answered_at_ms),
        "end_time": moment(ended.ended_at_ms),
        "call_id": ended.call_id,
        "leg": outbound.leg if outbound else 0,
        "leg_id": f"{ended.call_id}/{outbound.leg if outbound else 0}",
        "linked_leg_id": (
            f"{ended.call_id}/0" if inbound is None else f"{ended.call_id}/{inbound.legs}" if inbound.legs else ""
        ),
        "revision": leg.revision,
        "node": "sim1",
        "side": "payable" if outbound else "receivable",
        "customer_company_id": facts.customer_company_id if facts else 0,
        "customer": NAMES.companies[facts.customer_company_id] if facts else "",
        "customer_peer_id": facts.customer_peer_id if facts else 0,
        "originator": PEERS[facts.customer_peer_id] if facts else "",
        "vendor_company_id": vendor.vendor_company_id if vendor else 0,
        "vendor": NAMES.companies[vendor.vendor_company_id] if vendor else "",
        "vendor_peer_id": vendor.vendor_peer_id if vendor else 0,
        "terminator": PEERS[vendor.vendor_peer_id] if vendor else "",
        "account_id": leg.account_id,
        "caller": facts.caller if facts else "",
        "callee": facts.callee if facts else "",
        "caller_dialled": inbound.caller_dialled if inbound else "",
        "callee_dialled": inbound.callee_dialled if inbound else "",
        "destination_id": facts.destination_id if facts else 0,
        "destination": destination[0],
        "country": destination[1],
        "code": facts.code if facts else "",
        "price_id": facts.price_id if facts else 0,
        "price": Decimal(facts.price_e8 if facts else 0).scaleb(-8),
        "connect_fee": Decimal(facts.connect_fee_micros if facts else 0).scaleb(-6),
        "currency": leg.currency,
        "answered": ended.answered_at_ms is not None,
        "duration_ms": ended.duration_ms,
        "billed_seconds": leg.billed_seconds,
        "amount": Decimal(leg.amount_micros).scaleb(-6),
        "pdd_ms": ended.pdd_ms,
        "cause": ended.cause,
        "sip_code": (outbound.sip_code or 0) if outbound else 0,
        "dial_status": ended.dial_status,
        "release_side": ended.release_side,
        "reason": inbound.reason if inbound else "",
        "clock_disagreement": ended.clock_disagreement,
        "estimated": ended.estimated,
        "legs_hunted": inbound.legs if inbound else 0,
        "endpoint": inbound.endpoint if inbound else "",
        "remote_address": inbound.remote_address if inbound else "",
        "sip_call_id": ended.sip_call_id,
        "generation": facts.generation if facts else 0,
    }


def nobody(leg: RatedLeg, number: int) -> RatedLeg:
    """The inbound leg of a call that no router knew."""
    call_id = f"sim1-1795000000-1795608000.{number}"
    ended = msgspec.structs.replace(
        leg.ended, call_id=call_id, facts=None, last_facts=None, legs=0, reason="ROUTER UNAVAILABLE", cause=34,
        answered_at_ms=None, duration_ms=0, pdd_ms=None, dial_status="", clock_disagreement=True,
        caller_dialled="'); DROP TABLE legs; --\x00é\\",
    )  # fmt: skip
    return rate_leg(ended)


def test_every_field_is_the_events(client: Client) -> None:
    legs = rated()
    inbound = next(leg for leg in legs if leg.side == "receivable")
    odd = [nobody(inbound, 900_001), nobody(inbound, 900_002)]
    write_legs(client, [*legs, *odd], NAMES)
    found = rows_of(client)
    assert len(found) == len(legs) + len(odd)
    for row, leg in zip(found, sorted([*legs, *odd], key=lambda leg: leg.leg_id), strict=True):
        assert abs(row.pop("rated_at") - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=5)
        assert row == wanted_row(leg)
    # Both links meet: each outbound leg's is the inbound, and the inbound's is the last outbound.
    by_id = {row["leg_id"]: row for row in found}
    for row in found:
        if row["linked_leg_id"]:
            assert by_id[row["linked_leg_id"]]["call_id"] == row["call_id"]


def test_a_repeat_replaces_itself_and_a_revision_its_predecessor(client: Client) -> None:
    legs = rated(seed=2)
    for batch in (legs, legs[::-1], legs[10:30], legs):  # cut otherwise, so that ClickHouse does not know the insert
        write_legs(client, batch, NAMES)
    corrected = [msgspec.structs.replace(leg, revision=2, amount_micros=leg.amount_micros + 1) for leg in legs[:5]]
    write_legs(client, corrected, NAMES)
    write_legs(client, legs[:5], NAMES)  # the old one again, late
    wanted = {leg.leg_id: Decimal(leg.amount_micros).scaleb(-6) for leg in [*legs, *corrected]}
    found = rows_of(client, "leg_id, amount")
    assert len(found) == len(legs)
    assert {row["leg_id"]: row["amount"] for row in found} == wanted
    client.command("OPTIMIZE TABLE legs FINAL")
    assert {row["leg_id"]: row["amount"] for row in rows_of(client, "leg_id, amount", final=False)} == wanted


def late_truth(legs: list[RatedLeg]) -> tuple[list[RatedLeg], list[RatedLeg]]:
    """Of some calls an estimate that does not know of the last leg, and the true end."""
    true = [leg for leg in legs if isinstance(leg.ended, CallEnded) and leg.ended.last_facts is not None][:4]
    estimates = []
    for number, leg in enumerate(true):
        facts = msgspec.structs.replace(leg.ended.last_facts, vendor_peer_id=9_000)  # type: ignore[union-attr, type-var]
        changes: dict[str, Any] = {"estimated": True} | ({"last_facts": facts} if number else {})
        ended = msgspec.structs.replace(leg.ended, **changes)
        estimates.append(msgspec.structs.replace(leg, ended=ended, revision=0))
    return estimates, true


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_estimate_gives_way_to_a_true_end_by_another_vendor(client: Client, order: tuple[int, int]) -> None:
    legs = rated(seed=9, calls=40)
    ends = late_truth(legs)
    alone, _ = late_truth(rated(seed=10, calls=10))  # of these no true end ever comes
    assert len(ends[0]) == 4
    write_legs(client, [*legs[:3], *alone], NAMES)
    assert drop_replaced_estimates(client, [*legs[:3], *alone]) == 0
    write_legs(client, ends[order[0]], NAMES)
    assert drop_replaced_estimates(client, ends[order[0]]) == 0
    write_legs(client, ends[order[1]], NAMES)
    assert {row["leg_id"] for row in rows_of(client) if row["vendor_peer_id"] == 9_000} > {
        leg.leg_id for leg in ends[0][1:]
    }
    assert drop_replaced_estimates(client, [*ends[order[1]], *legs[:3]]) == 3
    assert drop_replaced_estimates(client, [*ends[order[1]], *legs[:3]]) == 0
    wanted = {leg.leg_id: leg.revision for leg in (*legs[:3], *alone, *ends[1])}
    rows = rows_of(client)
    assert len(rows) == len(wanted)
    assert {row["leg_id"]: row["revision"] for row in rows} == wanted


def test_more_than_ten_thousand_legs_in_one_batch(client: Client) -> None:
    legs = rated(seed=3, calls=5_000)
    assert len(legs) > 10_000
    write_legs(client, legs, NAMES)
    counted = client.query("SELECT count(), uniqExact(leg_id), sum(amount), sum(duration_ms) FROM legs").result_rows[0]
    micros = sum(leg.amount_micros for leg in legs)
    assert counted == (len(legs), len(legs), Decimal(micros).scaleb(-6), sum(leg.ended.duration_ms for leg in legs))


def test_legs_of_more_days_than_clickhouse_takes_in_one_insert_by_itself(client: Client) -> None:
    legs = [leg for day in range(130) for leg in rated(day + 1, 1, NOON_MS - day * DAY_MS)]
    write_legs(client, legs, NAMES)
    assert len(rows_of(client, "leg_id")) == len(legs)


def test_decimals_are_exact(client: Client, clickhouse: ClickHouse) -> None:
    leg = next(leg for leg in rated() if leg.amount_micros)
    assert leg.ended.facts is not None
    amounts = [0, 1, 10**6 - 1, 10**6, 2**53 + 1, 123_456_789_012_345_678, 10**18 - 1]
    prices = [0, 1, 10**8 + 1, 10**13 - 1, 2**31, 99_999_999, 3]
    legs = []
    for place, (amount, price) in enumerate(zip(amounts, prices, strict=True)):
        facts = msgspec.structs.replace(leg.ended.facts, price_e8=price, connect_fee_micros=amount % 10**15)
        call_id = f"sim1-1795000000-1795608000.{place}"
        ended = msgspec.structs.replace(leg.ended, facts=facts, call_id=call_id)
        legs.append(msgspec.structs.replace(rate_leg(ended), amount_micros=amount))
    write_legs(client, legs, NAMES)
    columns = "leg_id, amount, price, connect_fee, toString(amount) AS text"
    found = {row["leg_id"]: row for row in rows_of(client, columns)}
    for one, amount, price in zip(legs, amounts, prices, strict=True):
        row = found[one.leg_id]
        assert row["amount"] == Decimal(amount).scaleb(-6)
        assert Decimal(row["text"]) == Decimal(amount).scaleb(-6)
        assert row["price"] == Decimal(price).scaleb(-8)
        assert row["connect_fee"] == Decimal(amount % 10**15).scaleb(-6)
    assert {leg_id: money.amount_micros for leg_id, money in read_cdrs(clickhouse)[0].items()} == {
        one.leg_id: amount for one, amount in zip(legs, amounts, strict=True)
    }


def test_ids_without_a_name_are_written_and_asked_for(client: Client) -> None:
    legs = rated(seed=4, calls=10)
    companies, peers, destinations = ids_named(legs)
    assert NAMES.knows(companies, peers, destinations)
    assert not NAMES.knows(companies | {99}, peers, destinations)
    assert not Dimensions().knows(companies, set(), set())
    assert Dimensions().knows({0}, {0}, {0})
    write_legs(client, legs, Dimensions())
    for row in rows_of(client):
        assert (row["customer"], row["vendor"], row["originator"], row["terminator"]) == ("", "", "", "")
        assert row["customer_company_id"] > 0


def test_decisions_are_kept_whole(client: Client) -> None:
    decisions = [call.decision for call in make_traffic(5, NOON_MS, NOON_MS + 3_600_000, 30)]
    for batch in (decisions, decisions[:7], decisions[::-1]):
        write_decisions(client, batch, NOON_MS)
    write_decisions(client, [], NOON_MS)
    write_legs(client, [], NAMES)
    found = client.query(
        "SELECT call_id, routed_at, node, customer_peer_id, callee, reason, generation, decision FROM decisions FINAL"
    ).result_rows
    assert len(found) == len(decisions)
    by_call = {row[0]: row for row in found}
    for decision in decisions:
        row = by_call[decision.call_id]
        assert row[1:7] == (
            moment(decision.routed_at_ms), decision.node, decision.customer_peer_id, decision.callee, decision.reason,
            decision.generation,
        )  # fmt: skip
        assert decode_event(row[7].encode()) == decision


def test_the_guides_question_of_candidates_is_answered(client: Client) -> None:
    routed: Any = decode_event((Path(schemas.__file__).parent / "examples" / "call_routed.columns.json").read_bytes())
    now_ms = time.time_ns() // 1_000_000
    write_decisions(
        client,
        [
            msgspec.structs.replace(routed, call_id=f"ast1-1795609861-1795609900.{n}", routed_at_ms=now_ms - ago_ms)
            for n, ago_ms in enumerate((0, 60_000, 7_200_000))
        ],
        now_ms,
    )
    guide = (Path(schemas.__file__).parents[1] / "docs" / "analysts-guide.md").read_text()
    (question,) = re.findall(r"```sql\n(.*?FROM decisions.*?)```", guide, re.DOTALL)
    assert client.query(question).result_rows == [
        ("v-atlas", "TAKEN", 2), ("v-dear", "NO PROFIT", 2), ("v-none", "NO CODE", 2), ("v-nordic", "TAKEN", 2),
    ]  # fmt: skip


def test_an_insert_that_the_table_refuses_is_an_error_and_not_a_loss(client: Client) -> None:
    write_legs(client, rated(seed=6, calls=5), NAMES)
    client.command("ALTER TABLE legs MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
    before = len(rows_of(client, "leg_id"))
    with pytest.raises(DatabaseError, match="Too many parts"):
        write_legs(client, rated(seed=7, calls=5), NAMES)
    assert len(rows_of(client, "leg_id")) == before
    client.command("ALTER TABLE legs MODIFY SETTING parts_to_delay_insert = 1000, parts_to_throw_insert = 3000")
    client.command("ALTER TABLE legs ADD CONSTRAINT small CHECK amount < 1000")
    dear = [msgspec.structs.replace(leg, amount_micros=10**9) for leg in rated(seed=7, calls=5)]
    with pytest.raises(DatabaseError, match="VIOLATED_CONSTRAINT"):
        write_legs(client, dear, NAMES)
    assert len(rows_of(client, "leg_id")) == before
