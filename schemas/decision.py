"""A decision of the router, as it is told: everything that was considered and why, for the pages and for CDRs."""

from typing import Annotated, Literal

import msgspec

from schemas.event_base import AtMs, CallId, Event, EventError, LengthMs, Micros, Node, Short, Text, check_call_id
from schemas.facts import Digits, Id, RowId, are_digits, is_currency


class SortKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What an order compared of a vendor by one metric, in words; of quality with its sample.

    `neutral` says why a figure did not count (no sample, small sample, stale): the assumed value stands in its place.
    """

    metric: Short
    value: Short
    sample: Annotated[int, msgspec.Meta(ge=0)] | None = None
    neutral: Short = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One vendor as a decision saw it, taken (`position` from 1) or not (`verdict` says why).

    `route_class` is the base class that its entry is from, empty for the originator's own. `keys`: what was compared
    beside route priority and cost, in the order's order.
    """

    vendor_company_id: RowId
    vendor_peer_id: RowId
    vendor: Short  # the peer's name
    priority: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    code: Digits
    price_id: Id
    currency: Annotated[str, msgspec.Meta(max_length=3)]
    price_e8: int | None  # None: no price in force
    comparable_cost_e8: int | None  # what the order compared: per minute at the expected duration
    margin_e8: int | None  # customer's comparable price minus this cost
    verdict: Short  # a Verdict
    position: Annotated[int, msgspec.Meta(ge=0, le=32)]
    route_class: Short = ""
    keys: list[SortKey] = []
    detail: Text = ""  # which rule of the vendor's, where the verdict does not say it
    caller_sent: Short = ""  # of one in the hunt: the caller's number as it is sent; empty: anonymous
    callee_sent: Short = ""  # … and the dialled one, its tech prefix included


class CallRouted(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="call_routed"):
    """A decision of the router: everything considered and why. Event id: call_id/0 + ':call_routed'."""

    call_id: CallId
    node: Node
    generation: Id
    routed_at_ms: AtMs
    decision_micros: Annotated[int, msgspec.Meta(ge=0)]  # microSECONDS that the decision took
    endpoint: Short
    remote_address: Short
    caller_dialled: Text
    callee_dialled: Text
    caller: Digits
    callee: Digits
    customer_company_id: RowId
    customer_peer_id: RowId
    account_id: RowId
    route_class: Short
    code: Digits
    price_id: Id
    price_e8: int | None
    currency: Annotated[str, msgspec.Meta(max_length=3)]
    destination_id: RowId
    reason: Short  # a Refusal, or empty: routed
    max_call_ms: LengthMs
    hold_micros: Micros
    candidates: list[Candidate]
    detail: Text = ""  # what made the refusal: the rule that blocks, what is wrong with the number
    withheld: bool = False  # the caller does not want to be shown
    routing_number: Digits = ""  # what vendors' codes are matched on, where that is not the callee
    lookup: Short = ""  # what a look-up came to, in words
    attestation: Literal["", "A", "B", "C"] = ""  # what we vouch for outward


def check_routed(event: CallRouted) -> None:
    """Rules that the types do not say. Raises EventError."""
    check_call_id(event.call_id)
    for name, text in (("caller", event.caller), ("callee", event.callee), ("code", event.code)):
        if not are_digits(text):
            raise EventError(f"{name} {text!r}: must be digits")
    if not are_digits("".join([one.code for one in event.candidates])):
        raise EventError("candidates: code must be digits")
    currencies = {event.currency, *[one.currency for one in event.candidates]}
    if not all(is_currency(currency) for currency in currencies if currency):
        raise EventError(f"currency among {sorted(currencies)}: must be three capital letters, or empty")
