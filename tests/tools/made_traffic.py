"""Calls made up for tests of the pages: rated legs, decisions and live calls with known names; no stream runs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import psycopg

from dashboards.kit.names import Names
from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from schemas.events import CallEnded, CallRouted, Candidate, LegEnded, RatedLeg
from schemas.facts import Facts
from schemas.live import LiveCall, LiveLeg
from schemas.refusals import Verdict
from sinks.cdrs import cdr_table, write_decisions, write_legs
from sinks.dimensions import Dimensions
from tariffs.rating import rate

CUSTOMERS: Final = {1: "Alba Telecom", 2: "Borealis Voice", 3: "Cedar Networks"}
VENDORS: Final = {11: "Danube Carrier", 12: "Estuary Tel", 13: "Fjord Wholesale"}
PEERS: Final = {1: "alba", 2: "borealis", 3: "cedar", 11: "danube", 12: "estuary", 13: "fjord"}
DESTINATIONS: Final = {1: ("Bangladesh Mobile", "BD"), 2: ("Bulgaria Fixed", "BG"), 3: ("Nigeria Mobile", "NG")}
CODES: Final = {1: "8801", 2: "3592", 3: "234803"}
NAMES: Final = Dimensions({**CUSTOMERS, **VENDORS}, PEERS, DESTINATIONS)
NOW_NAMES: Final = Names(dict(NAMES.companies), PEERS, {key: name for key, (name, _) in DESTINATIONS.items()})
EPOCH: Final = 1_795_000_000


def facts(side: str, customer: int, vendor: int, destination: int, price_e8: int, currency: str = "USD") -> Facts:
    """Terms of a leg: 1/1/0, no connect fee."""
    return Facts(
        side="receivable" if side == "receivable" else "payable",
        generation=7,
        customer_company_id=customer,
        customer_peer_id=customer,
        vendor_company_id=vendor,
        vendor_peer_id=vendor,
        account_id=customer if side == "receivable" else vendor,
        currency=currency,
        code=CODES[destination],
        price_id=100 + destination,
        destination_id=destination,
        price_e8=price_e8,
        connect_fee_micros=0,
        minimum_seconds=1,
        increment_seconds=1,
        free_seconds=0,
        rounding_decimals=6,
        duration_rounding="up",
        caller="35929990001",
        callee=f"{CODES[destination]}712345",
    )


@dataclass(frozen=True)
class Try:
    """One vendor tried. `status` and the rest as the journal has them."""

    vendor: int
    status: str = "ANSWER"
    cause: int = 16
    sip_code: int | None = 200
    talk_ms: int = 0
    pdd_ms: int | None = 1_500
    cost_e8: int = 2_000_000


ANSWERED: Final = ("ANSWER", 16, 200)
FAILED: Final = ("CONGESTION", 34, 503)


@dataclass(frozen=True)
class MadeCall:
    """A call that has ended."""

    call_id: str
    legs: tuple[RatedLeg, ...]
    decision: CallRouted


def make_call(
    number: int,
    started_ms: int,
    tries: Sequence[Try],
    *,
    customer: int = 1,
    destination: int = 1,
    reason: str = "",
    price_e8: int = 5_000_000,
    currency: str = "USD",
) -> MadeCall:
    """The rated legs and the decision of one call; the last try is the one that answered, if any did."""
    call_id = f"sim1-{EPOCH}-{started_ms // 1000:010d}.{number}"
    legs: list[RatedLeg] = []
    at_ms = started_ms + 20
    for place, one in enumerate(tries, 1):
        leg = _outbound(call_id, place, one, customer, destination, started_ms, at_ms, currency)
        legs.append(leg)
        at_ms = leg.ended.ended_at_ms
    receivable = facts("receivable", customer, 0, destination, price_e8, currency)
    last = legs[-1] if legs else None
    answered_at_ms = last.ended.answered_at_ms if last else None
    duration_ms = last.ended.duration_ms if last else 0
    bill = rate(receivable, duration_ms, answered_at_ms is not None)
    pdd = [leg.ended.started_at_ms + leg.ended.pdd_ms - started_ms for leg in legs if leg.ended.pdd_ms is not None]
    ended = CallEnded(
        event_id=f"{call_id}/0:call_ended",
        call_id=call_id,
        call_started_at_ms=started_ms,
        started_at_ms=started_ms,
        answered_at_ms=answered_at_ms,
        ended_at_ms=at_ms,
        duration_ms=duration_ms,
        asterisk_duration_ms=duration_ms,
        clock_disagreement=False,
        pdd_ms=min(pdd, default=None),
        dial_status=last.ended.dial_status if last else "",
        cause=last.ended.cause if last else 34,
        release_side="caller" if answered_at_ms else "us",
        legs=len(legs),
        reason=reason,
        caller_dialled="35929990001",
        callee_dialled=f"+{receivable.callee}",
        endpoint=f"c-{PEERS[customer]}",
        remote_address="127.1.0.1",
        facts=receivable,
        last_facts=last.ended.facts if last else None,
    )
    inbound = RatedLeg(
        event_id=f"{call_id}/0:rated_leg:0",
        leg_id=f"{call_id}/0",
        side="receivable",
        account_id=customer,
        currency=currency,
        billed_seconds=bill.billed_seconds,
        amount_micros=bill.amount_micros,
        linked_leg_id=last.leg_id if last else "",
        ended=ended,
    )
    return MadeCall(call_id, (inbound, *legs), _decision(call_id, started_ms, tries, receivable, reason))


def _outbound(
    call_id: str, place: int, one: Try, customer: int, destination: int, call_ms: int, at_ms: int, currency: str
) -> RatedLeg:
    terms = facts("payable", customer, one.vendor, destination, one.cost_e8, currency)
    answered = one.status == "ANSWER"
    setup_ms = (one.pdd_ms or 400) + 1_000
    bill = rate(terms, one.talk_ms, answered)
    ended = LegEnded(
        event_id=f"{call_id}/{place}:leg_ended",
        call_id=call_id,
        call_started_at_ms=call_ms,
        started_at_ms=at_ms,
        answered_at_ms=at_ms + setup_ms if answered else None,
        ended_at_ms=at_ms + setup_ms + one.talk_ms,
        duration_ms=one.talk_ms,
        asterisk_duration_ms=one.talk_ms,
        clock_disagreement=False,
        pdd_ms=one.pdd_ms,
        dial_status=one.status,  # type: ignore[arg-type]
        cause=one.cause,
        release_side="caller" if answered else "callee",
        leg=place,
        sip_code=one.sip_code,
        facts=terms,
    )
    return RatedLeg(
        event_id=f"{call_id}/{place}:rated_leg:0",
        leg_id=f"{call_id}/{place}",
        side="payable",
        account_id=one.vendor,
        currency=currency,
        billed_seconds=bill.billed_seconds,
        amount_micros=bill.amount_micros,
        linked_leg_id=f"{call_id}/0",
        ended=ended,
    )


def _decision(call_id: str, started_ms: int, tries: Sequence[Try], receivable: Facts, reason: str) -> CallRouted:
    taken = {one.vendor: place for place, one in enumerate(tries, 1)}
    candidates = [
        Candidate(
            vendor_company_id=vendor,
            vendor_peer_id=vendor,
            vendor=PEERS[vendor],
            priority=1,
            code=receivable.code,
            price_id=vendor * 10,
            currency=receivable.currency,
            price_e8=2_000_000 + vendor * 1_000,
            comparable_cost_e8=2_000_000 + vendor * 1_000,
            margin_e8=3_000_000 - vendor * 1_000,
            verdict=Verdict.TAKEN if vendor in taken else Verdict.NO_PROFIT,
            position=taken.get(vendor, 0),
        )
        for vendor in VENDORS
    ]
    return CallRouted(
        event_id=f"{call_id}/0:call_routed",
        call_id=call_id,
        node="sim1",
        generation=7,
        routed_at_ms=started_ms + 5,
        decision_micros=340,
        endpoint=f"c-{PEERS[receivable.customer_peer_id]}",
        remote_address="127.1.0.1",
        caller_dialled="35929990001",
        callee_dialled=f"+{receivable.callee}",
        caller=receivable.caller,
        callee=receivable.callee,
        customer_company_id=receivable.customer_company_id,
        customer_peer_id=receivable.customer_peer_id,
        account_id=receivable.account_id,
        route_class="standard",
        code=receivable.code,
        price_id=receivable.price_id,
        price_e8=receivable.price_e8,
        currency=receivable.currency,
        destination_id=receivable.destination_id,
        reason=reason,
        max_call_ms=0 if reason else 14_400_000,
        hold_micros=0 if reason else 50_000,
        candidates=candidates,
    )


_ENDINGS: Final = (
    ("ANSWER", 16, 200, 1_500), ("ANSWER", 16, 200, 900), ("BUSY", 17, 486, 1_100), ("NOANSWER", 19, 480, 2_000),
    ("NOANSWER", 18, 408, None), ("CANCEL", 0, None, None), ("CANCEL", 16, None, 1_700), ("CONGESTION", 34, 503, None),
    ("CONGESTION", 21, 603, 1_200), ("CHANUNAVAIL", 20, None, None), ("CANCEL", 16, None, None),
)  # fmt: skip


def make_traffic(seed: int, from_ms: int, until_ms: int, calls: int, currency: str = "USD") -> list[MadeCall]:
    """Calls of every kind of ending that ended between two moments; the same seed makes the same."""
    chosen = random.Random(seed)
    made: list[MadeCall] = []
    for number in range(1, calls + 1):
        tries: list[Try] = []
        for vendor in chosen.sample(sorted(VENDORS), chosen.randint(0, 3)):
            status, cause, sip_code, pdd_ms = chosen.choice(_ENDINGS)
            talk_ms = chosen.randint(0, 240_000) if status == "ANSWER" else 0
            tries.append(Try(vendor, status, cause, sip_code, talk_ms, pdd_ms, chosen.randrange(10**6, 6 * 10**6)))
            if status in ("ANSWER", "CANCEL"):
                break
        call = make_call(
            seed * 100_000 + number,
            0,
            tries,
            customer=chosen.choice(sorted(CUSTOMERS)),
            destination=chosen.choice(sorted(DESTINATIONS)),
            reason="" if tries else "NO BALANCE",
            currency=currency,
        )
        length_ms = call.legs[0].ended.ended_at_ms
        ends_ms = chosen.randrange(from_ms, until_ms)
        made.append(
            make_call(
                seed * 100_000 + number,
                ends_ms - length_ms,
                tries,
                customer=call.decision.customer_company_id,
                destination=call.decision.destination_id,
                reason=call.decision.reason,
                currency=currency,
            )
        )
    return made


def insert(settings: ClickHouse, calls: Sequence[MadeCall]) -> None:
    """Put the calls into ClickHouse as the streams would."""
    with connect(settings) as client:
        write_legs(client, [leg for call in calls for leg in call.legs], NAMES)
        write_decisions(client, [call.decision for call in calls], calls[-1].decision.routed_at_ms if calls else 0)


def insert_names(dsn: str) -> None:
    """The parties of the made calls in PostgreSQL, by the same ids."""
    with psycopg.connect(dsn) as connection:
        for company_id, name in NAMES.companies.items():
            connection.execute("INSERT INTO companies (company_id, name) VALUES (%s, %s)", (company_id, name))
        for destination_id, (name, country) in DESTINATIONS.items():
            connection.execute(
                "INSERT INTO destinations (destination_id, code, country, name, kind) VALUES (%s, %s, %s, %s, 'other')",
                (destination_id, CODES[destination_id], country, name),
            )


@dataclass(frozen=True)
class MadeLive:
    """A live call, as it lies on the topic."""

    call: LiveCall
    key: bytes = field(init=False)
    value: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.call.call_id.encode())
        object.__setattr__(self, "value", msgspec.json.encode(self.call))


def make_live(
    number: int,
    started_ms: int,
    *,
    customer: int = 1,
    destination: int = 1,
    hunted: Sequence[int] = (11,),
    ringing: bool = False,
    answered_ms: int | None = None,
    ended_ms: int | None = None,
) -> MadeLive:
    """A live call at its last hunted vendor: dialling, ringing, or answered at `answered_ms`."""
    legs = []
    for place, vendor in enumerate(hunted, 1):
        at_ms = started_ms + place * 300
        last = place == len(hunted)
        legs.append(
            LiveLeg(
                leg=place,
                facts=facts("payable", customer, vendor, destination, 2_000_000),
                started_at_ms=at_ms,
                ringing_at_ms=at_ms + 200 if last and (ringing or answered_ms) else None,
                answered_at_ms=answered_ms if last else None,
                ended_at_ms=None if last else at_ms + 250,
            )
        )
    return MadeLive(
        LiveCall(
            call_id=f"sim1-{EPOCH}-{started_ms // 1000:010d}.{number}",
            call_started_at_ms=started_ms,
            call_facts=facts("receivable", customer, 0, destination, 5_000_000),
            legs=tuple(legs),
            ended_at_ms=ended_ms,
        )
    )


def call_rows(call: MadeCall) -> list[dict[str, Any]]:
    """The call's legs as sql/call_legs.sql returns them."""
    made = cdr_table(call.legs, NAMES).to_pylist()
    for row, leg in zip(made, call.legs, strict=True):
        ended = leg.ended
        row |= {
            "call_start_ms": ended.call_started_at_ms,
            "start_ms": ended.started_at_ms,
            "answer_ms": ended.answered_at_ms,
            "end_ms": ended.ended_at_ms,
            "amount_micros": leg.amount_micros,
            "price": str(row["price"]),
            "connect_fee": str(row["connect_fee"]),
        }
    return made
