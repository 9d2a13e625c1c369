"""Events of billing: a leg with its bill, and what could not become one."""

from typing import Annotated

import msgspec

from schemas.call_events import CallEnded, LegEnded, check_closed
from schemas.event_base import AtMs, Event, EventError, Text
from schemas.facts import CurrencyCode, RowId, Side, is_currency
from schemas.ids import make_leg_id


class RatedLeg(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rated_leg"):
    """A closed leg with its bill: what the ledger posts and what a CDR is made of. Event id: leg_id:rated_leg:revision.

    `ended` is the closing event itself, so that nothing is copied field by field and lost on the way.
    `amount_micros` is what the account owes us (receivable) or we owe it (payable): never negative.
    `revision`: 0 of an estimated closing, 1 of a true one, 2 and above when rated again; the highest is the leg's bill.
    """

    leg_id: Annotated[str, msgspec.Meta(max_length=64)]
    revision: Annotated[int, msgspec.Meta(ge=0, le=32_767)] = 0
    side: Side
    account_id: RowId
    currency: CurrencyCode
    billed_seconds: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    amount_micros: Annotated[int, msgspec.Meta(ge=0, le=10**18)]
    linked_leg_id: Annotated[
        str, msgspec.Meta(max_length=64)
    ]  # inbound: the last hunted leg or ''; outbound: the inbound
    ended: LegEnded | CallEnded


class DeadLetter(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="dead_letter"):
    """Something that could not be processed: kept whole, with its origin and the reason. Event id: its origin."""

    origin: Text  # topic/partition/offset/index, or journal:NODE:FILE:OFFSET
    reason: Annotated[str, msgspec.Meta(max_length=1024)]
    raw_base64: str
    at_ms: AtMs
    leg_id: Annotated[str, msgspec.Meta(max_length=64)] = ""  # where it could still be told


def check_rated(event: RatedLeg) -> None:
    """A bill's rules, and those of the closing in it. Raises EventError."""
    check_closed(event.ended)
    number = event.ended.leg if isinstance(event.ended, LegEnded) else 0
    if event.leg_id != make_leg_id(event.ended.call_id, number):
        raise EventError(f"leg_id {event.leg_id!r}: ended is leg {number} of {event.ended.call_id}")
    if event.side != ("receivable" if isinstance(event.ended, CallEnded) else "payable"):
        raise EventError(f"side {event.side!r}: must be the other on a {type(event.ended).__name__}")
    if not is_currency(event.currency):
        raise EventError(f"currency {event.currency!r}: must be three capital letters")
