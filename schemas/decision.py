"""A decision of the router, as it is told: everything that was considered and why, for the pages and for CDRs."""

from typing import Annotated, Final, Literal

import msgspec

from schemas.event_base import AtMs, CallId, Event, EventError, LengthMs, Micros, Node, Short, Text, check_call_id
from schemas.facts import Digits, Id, RowId, are_digits, is_currency
from schemas.refusals import Verdict

_MOST_TAKEN: Final = 32
_NO_COST: Final = 2**63  # behind every cost
_OF_EACH: Final = (
    "vendor_company_ids", "vendor_peer_ids", "vendors", "priorities", "currencies", "route_classes", "keys", "digits",
    "price_ids", "prices_e8", "costs_e8", "verdicts",
)  # fmt: skip


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


class CandidateColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The candidates of a decision by columns, each with a place for each vendor of the class.

    A router writes so many of them that it writes no more than what differs, and leaves the rest to who reads:
    see candidates_of().
    """

    vendor_company_ids: list[RowId]
    vendor_peer_ids: list[RowId]
    vendors: list[Short]
    priorities: list[Annotated[int, msgspec.Meta(ge=0, le=65_535)]]
    currencies: list[Annotated[str, msgspec.Meta(max_length=3)]]
    route_classes: list[Short]
    keys: list[list[SortKey]]
    digits: list[Annotated[int, msgspec.Meta(ge=0, le=32)]]  # of the number, that the code has; 0: no price in force
    price_ids: list[Id]
    prices_e8: list[int]
    costs_e8: list[int]  # comparable
    verdicts: list[Short]
    taken: list[Annotated[int, msgspec.Meta(ge=0)]]  # places, in the order of the hunt
    callers_sent: list[Short]  # of those
    callees_sent: list[Short]
    income_e8: int  # what the customer pays, comparable
    details: dict[Annotated[int, msgspec.Meta(ge=0)], Text]  # by place


def candidates_of(columns: CandidateColumns, number: str) -> list[Candidate]:
    """The candidates one by one; `number` is the one that vendors' codes are matched on. Raises EventError.

    Taken ones first, then by priority, cost (those without a price last) and name.
    """
    _check_columns(columns)
    positions = {place: position for position, place in enumerate(columns.taken, start=1)}
    each = zip(*[getattr(columns, name) for name in _OF_EACH], strict=True)
    found = [_candidate(columns, number, place, positions.get(place, 0), *values) for place, values in enumerate(each)]
    found.sort(key=_order)
    return found


def _check_columns(columns: CandidateColumns) -> None:
    count, hunt = len(columns.vendors), len(columns.taken)
    for name in _OF_EACH:
        if len(getattr(columns, name)) != count:
            raise EventError(f"candidates: {len(getattr(columns, name))} {name} of {count} vendors")
    if len(columns.callers_sent) != hunt or len(columns.callees_sent) != hunt or len(set(columns.taken)) != hunt:
        raise EventError("candidates: taken, callers_sent and callees_sent must be as many, each place once")
    if hunt > _MOST_TAKEN or any(place >= count for place in (*columns.taken, *columns.details)):
        raise EventError(f"candidates: taken and details must be of the {count} vendors, {_MOST_TAKEN} taken at most")


def _candidate(
    columns: CandidateColumns,
    number: str,
    place: int,
    position: int,
    company_id: int,
    peer_id: int,
    vendor: str,
    priority: int,
    currency: str,
    route_class: str,
    keys: list[SortKey],
    digits: int,
    price_id: int,
    price_e8: int,
    cost_e8: int,
    verdict: str,
) -> Candidate:
    # Of one whose currency has no rate the cost says nothing beside the customer's price.
    comparable = digits and verdict != Verdict.OTHER_CURRENCY
    return Candidate(
        vendor_company_id=company_id,
        vendor_peer_id=peer_id,
        vendor=vendor,
        priority=priority,
        code=number[:digits],
        price_id=price_id if digits else 0,
        currency=currency,
        price_e8=price_e8 if digits else None,
        comparable_cost_e8=cost_e8 if digits else None,
        margin_e8=columns.income_e8 - cost_e8 if comparable else None,
        verdict=verdict,
        position=position,
        route_class=route_class,
        keys=keys if digits else [],
        detail=columns.details.get(place, "") if columns.details else "",
        caller_sent=columns.callers_sent[position - 1] if position else "",
        callee_sent=columns.callees_sent[position - 1] if position else "",
    )


def _order(one: Candidate) -> tuple[int, int, int, str]:
    cost_e8 = one.comparable_cost_e8
    return one.position or _MOST_TAKEN + 1, one.priority, _NO_COST if cost_e8 is None else cost_e8, one.vendor


class Routed(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every form of a decision has."""

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
    detail: Text = ""  # what made the refusal: the rule that blocks, what is wrong with the number
    withheld: bool = False  # the caller does not want to be shown
    routing_number: Digits = ""  # what vendors' codes are matched on, where that is not the callee
    lookup: Short = ""  # what a look-up came to, in words
    attestation: Literal["", "A", "B", "C"] = ""  # what we vouch for outward
    call_started_at_ms: AtMs | None = None  # as the call's lines have it; None: of an older router


class CallRouted(Routed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="call_routed"):
    """A decision of the router: everything considered and why. Event id: call_id/0 + ':call_routed'.

    A router writes columns; decisions that were stored before it did have the candidates one by one.
    """

    candidates: CandidateColumns | list[Candidate]


class CallRoutedText(Routed, frozen=True, kw_only=True, tag="call_routed"):
    """The same as a router writes it, who has put the columns into JSON already."""

    candidates: msgspec.Raw


class ExplainedCall(Routed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="call_routed"):
    """The same for people: the candidates one by one, taken ones first, then by priority, cost and name."""

    candidates: list[Candidate]


def explained(event: CallRouted) -> ExplainedCall:
    """The decision for people. Raises EventError."""
    found = event.candidates
    if isinstance(found, CandidateColumns):
        found = candidates_of(found, event.routing_number or event.callee)
    return ExplainedCall(candidates=found, **{name: getattr(event, name) for name in Routed.__struct_fields__})


def check_routed(event: CallRouted) -> None:
    """Rules that the types do not say. Raises EventError."""
    check_call_id(event.call_id)
    for name, text in (("caller", event.caller), ("callee", event.callee), ("code", event.code)):
        if not are_digits(text):
            raise EventError(f"{name} {text!r}: must be digits")
    found = event.candidates
    if isinstance(found, CandidateColumns):
        _check_columns(found)
        currencies = {event.currency, *found.currencies}
    else:
        currencies = {event.currency, *[one.currency for one in found]}
        if not are_digits("".join([one.code for one in found])):
            raise EventError("candidates: code must be digits")
    if not all(is_currency(currency) for currency in currencies if currency):
        raise EventError(f"currency among {sorted(currencies)}: must be three capital letters, or empty")
