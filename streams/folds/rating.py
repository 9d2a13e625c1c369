"""Rating: a message of `calls` in, rated legs and dead letters out. Billing's whole arithmetic, without a server."""

from typing import Final, NamedTuple

from schemas import events, ids
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID
from streams.folds.reading import Origin, split_by_type
from tariffs.rating import NOTHING, rate

ESTIMATED_REVISION: Final = 0
TRUE_REVISION: Final = 1  # every later one is a leg that was rated again
UNIDENTIFIED_CURRENCY = "USD"  # of the system account of unknown callers; its legs are always zero
_CLOSED: Final[tuple[type[events.LegEnded | events.CallEnded], ...]] = (events.LegEnded, events.CallEnded)
_LIVE: Final = (events.LegStarted, events.LegRinging, events.LegAnswered)


class Rated(NamedTuple):
    """What a message of `calls` came to."""

    legs: list[events.RatedLeg]
    dead: list[events.DeadLetter]


def rate_message(message: bytes | None, origin: Origin, now_ms: int) -> Rated:
    """Rate each closed leg of a framed message. Events of the live view are passed over; all else is a dead letter."""
    closed = split_by_type(message, origin, now_ms, _CLOSED, "an event of a call or leg", _LIVE)
    return Rated([rate_leg(event) for _, event in closed.found], closed.dead)


def rate_leg(ended: events.LegEnded | events.CallEnded) -> events.RatedLeg:
    """The bill of one closed leg: its own side's account, amount in micros, and its link to the other leg."""
    facts = ended.facts
    bill = NOTHING if facts is None else rate(facts, ended.duration_ms, ended.answered_at_ms is not None)
    inbound = isinstance(ended, events.CallEnded)
    leg_id = ids.make_leg_id(ended.call_id, 0 if isinstance(ended, events.CallEnded) else ended.leg)
    if isinstance(ended, events.CallEnded):
        linked_leg_id = ids.make_leg_id(ended.call_id, ended.legs) if ended.legs else ""
    else:
        linked_leg_id = ids.make_leg_id(ended.call_id, 0)
    revision = ESTIMATED_REVISION if ended.estimated else TRUE_REVISION
    return events.RatedLeg(
        event_id=f"{leg_id}:rated_leg:{revision}",
        leg_id=leg_id,
        revision=revision,
        side="receivable" if inbound else "payable",
        account_id=(facts.account_id if facts is not None else 0) or UNIDENTIFIED_ACCOUNT_ID,
        currency=facts.currency if facts is not None and facts.account_id else UNIDENTIFIED_CURRENCY,
        billed_seconds=bill.billed_seconds,
        amount_micros=bill.amount_micros,
        linked_leg_id=linked_leg_id,
        ended=ended,
    )
