"""The routing core: (snapshot, request) → decision. Pure: no clock, no randomness, no I/O.

A decision walks one row of the vendors' matrix, from the cheapest on. Vendors that may not be tried (another route
class or priority, disabled, another currency, the originator's own company) are removed by one `translate`; the walk
stops at the first cost above what profit control allows, since all behind it is dearer, and at the longest hunt. Why
the others were not taken is worked out later, from the same inputs, when somebody wants to know: `Decision.candidates`.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from router.identify import identify
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer, RouteEntry
from router.snapshot.prices import BLOCKED_ROW, NO_COST, NO_VENDOR, comparable_e8
from router.snapshot.store import Snapshot, VendorMatrix
from schemas.agi import MAX_ROUTES
from schemas.events import Candidate
from schemas.refusals import Refusal, Verdict
from tariffs.numbers import NumberError, caller_digits, normalise

SPECIAL_KINDS: Final = frozenset(("premium", "emergency", "short"))
_ALL_VENDORS: Final = frozenset(range(NO_VENDOR + 1))


class Request(NamedTuple):
    """An attempt as the dialplan asks: texts from the wire, not yet trusted."""

    endpoint: str
    remote_address: str
    callee: str
    caller: str


# Of these a decision makes a score: structs, for a named tuple costs three times as much to make.
class Priced(msgspec.Struct, frozen=True, gc=False):
    """A price that applies: the code matched, its row, and the price per minute in 10⁻⁸ of the pack's currency."""

    code: str
    price_id: int
    price_e8: int


class Route(msgspec.Struct, frozen=True):
    """A vendor to try, in hunt order."""

    vendor: Peer
    price: Priced
    comparable_e8: int


class Group(NamedTuple):
    """The vendors of one priority of a route class, as far as one originator may use them."""

    priority: int
    removed: bytes  # all other vendors, for translate


class Plan(NamedTuple):
    """How an originator's company uses a route class: its groups in order, and why vendors are left out of them."""

    groups: tuple[Group, ...]
    left_out: dict[int, Verdict]  # by vendor's index in the matrix
    entries: dict[int, RouteEntry]


class Decision(msgspec.Struct, frozen=True):
    """Where a call goes, or why it goes nowhere. `refusal` is None exactly if there are routes."""

    snapshot: Snapshot
    request: Request
    refusal: Refusal | None
    peer: Peer | None = None
    caller: str = ""
    callee: str = ""
    destination_id: int = 0
    price: Priced | None = None  # the customer's
    routes: tuple[Route, ...] = ()
    matrix_code: int = NO_CODE
    income_e8: int = 0  # the customer's comparable price
    most_cost_e8: int = NO_COST  # the dearest comparable cost that profit control allows
    plan: Plan | None = None

    @property
    def route_class(self) -> str:
        """The name of the route class that was used, or nothing."""
        found = self.snapshot.classes.get(self.peer.route_class_id) if self.peer else None
        return found.name if found else ""

    def candidates(self) -> list[Candidate]:
        """Every vendor of the route class: taken at which position, or why not. Taken first, then by cost."""
        return sorted(_candidates(self), key=_candidate_order)


def decide(snapshot: Snapshot, request: Request, *, expected_seconds: int) -> Decision:
    """The decision on one attempt. `expected_seconds` must be what the snapshot's costs were made comparable at."""
    peer, refusal = identify(snapshot, request.remote_address, request.callee)
    caller = caller_digits(request.caller)
    if peer is None or refusal is not None:
        return Decision(snapshot, request, refusal, peer, caller)
    try:
        callee = normalise(request.callee, peer.tech_prefix)
    except NumberError:
        return Decision(snapshot, request, Refusal.BAD_NUMBER, peer, caller)
    place = snapshot.destinations.find(callee)
    destination_id, kind = snapshot.destination_of[place] if place != NO_CODE else (0, "other")
    price, refusal = _customer_price(snapshot, peer, callee)
    if price is not None and kind in SPECIAL_KINDS and not _may_call_special(snapshot, peer, price, place):
        refusal = Refusal.BLOCKED
    if price is None or refusal is not None:
        return Decision(snapshot, request, refusal, peer, caller, callee, destination_id, price)
    return _route(snapshot, request, peer, caller, callee, destination_id, price, expected_seconds)


def _route(
    snapshot: Snapshot, request: Request, peer: Peer, caller: str, callee: str, destination_id: int,
    price: Priced, expected_seconds: int,
) -> Decision:  # fmt: skip
    matrix = snapshot.matrix
    code = matrix.index.find(callee)
    plan = _plan(snapshot, peer)
    income_e8 = int(comparable_e8(peer.pack, price.price_e8, expected_seconds, income=True))
    most_cost_e8 = _most_cost_e8(peer, income_e8)
    routes: list[Route] = []
    priced = False  # whether any vendor that may be tried has a price, dear or not
    if code != NO_CODE:
        width = len(matrix.vendors)
        first = code * width
        order = bytes(matrix.order[first : first + width])
        cost, row, vendors = matrix.cost, matrix.row, matrix.vendors
        for group in plan.groups:
            for vendor in order.translate(None, group.removed):
                priced = True
                cost_e8 = cost[first + vendor]
                if cost_e8 > most_cost_e8 or len(routes) == MAX_ROUTES:
                    break
                routes.append(Route(vendors[vendor], _price_of(matrix, row[first + vendor]), cost_e8))
    refusal = None if routes else (Refusal.NO_PROFITABLE_ROUTE if priced else Refusal.NO_ROUTE)
    return Decision(
        snapshot, request, refusal, peer, caller, callee, destination_id, price,
        tuple(routes), code, income_e8, most_cost_e8, plan,
    )  # fmt: skip


def _customer_price(snapshot: Snapshot, peer: Peer, callee: str) -> tuple[Priced | None, Refusal | None]:
    deck = snapshot.decks.get(peer.deck_id)
    place = deck.index.find(callee) if deck is not None else NO_CODE
    if deck is None or place == NO_CODE:
        return None, Refusal.NOT_BILLABLE
    price = Priced(deck.index.text(place), deck.price_ids[place], deck.prices_e8[place])
    if price.price_e8 < 0:
        return None, Refusal.BLOCKED
    if price.price_e8 == 0 and not peer.pack.allow_free_codes:
        return None, Refusal.NOT_BILLABLE
    return price, None


def _may_call_special(snapshot: Snapshot, peer: Peer, price: Priced, destination: int) -> bool:
    """Premium, emergency, short: the customer must have leave, and a price for that very code or a longer one."""
    return peer.allow_special and len(price.code) >= snapshot.destinations.lengths[destination]


def _price_of(matrix: VendorMatrix, row: int) -> Priced:
    return Priced(matrix.index.text(matrix.row_code[row]), matrix.row_price_id[row], matrix.row_price_e8[row])


def _most_cost_e8(peer: Peer, income_e8: int) -> int:
    """The dearest comparable cost that the originator's profit rule allows."""
    if peer.profit == "allow_losses":
        return NO_COST - 1
    return income_e8 - max(peer.minimum_margin_e8, 1 if peer.profit == "profit_only" else 0)


def _plan(snapshot: Snapshot, peer: Peer) -> Plan:
    key = (peer.route_class_id, peer.company_id, peer.pack.currency)
    plan = snapshot.plans.get(key)
    if plan is None:
        # A cache of what is a function of the frozen snapshot: filling it twice at once would do no harm.
        plan = snapshot.plans[key] = _make_plan(snapshot, peer)
    return plan


def _make_plan(snapshot: Snapshot, peer: Peer) -> Plan:
    route_class = snapshot.classes.get(peer.route_class_id)
    index_of = {vendor.peer_id: index for index, vendor in enumerate(snapshot.matrix.vendors)}
    entries = {index_of[entry.peer_id]: entry for entry in route_class.entries} if route_class else {}
    left_out: dict[int, Verdict] = {}
    usable: dict[int, set[int]] = {}
    for index, entry in entries.items():
        vendor = snapshot.matrix.vendors[index]
        if not (entry.enabled and vendor.enabled):
            left_out[index] = Verdict.DISABLED
        elif vendor.company_id == peer.company_id:
            left_out[index] = Verdict.OWN_COMPANY
        elif vendor.pack.currency != peer.pack.currency:
            left_out[index] = Verdict.OTHER_CURRENCY
        else:
            usable.setdefault(entry.priority, set()).add(index)
    groups = tuple(
        Group(priority, bytes(sorted(_ALL_VENDORS - members))) for priority, members in sorted(usable.items())
    )
    return Plan(groups, left_out, entries)


def _candidates(decision: Decision) -> Iterator[Candidate]:
    plan, snapshot = decision.plan, decision.snapshot
    if plan is None:
        return
    matrix = snapshot.matrix
    taken = {route.vendor.peer_id: position for position, route in enumerate(decision.routes, start=1)}
    for index, entry in plan.entries.items():
        vendor = matrix.vendors[index]
        cell = decision.matrix_code * len(matrix.vendors) + index
        row = matrix.row[cell] if decision.matrix_code != NO_CODE else -1
        price = _price_of(matrix, row) if row >= 0 else None
        cost_e8 = matrix.cost[cell] if price is not None else None
        comparable = cost_e8 is not None and plan.left_out.get(index) is not Verdict.OTHER_CURRENCY
        yield Candidate(
            vendor_company_id=vendor.company_id,
            vendor_peer_id=vendor.peer_id,
            vendor=vendor.name,
            priority=entry.priority,
            code=price.code if price else "",
            price_id=price.price_id if price else 0,
            currency=vendor.pack.currency,
            price_e8=price.price_e8 if price else None,
            comparable_cost_e8=cost_e8,
            margin_e8=decision.income_e8 - cost_e8 if comparable and cost_e8 is not None else None,
            verdict=_verdict(decision, index, row, cost_e8, vendor.peer_id in taken),
            position=taken.get(vendor.peer_id, 0),
        )


def _verdict(decision: Decision, index: int, row: int, cost_e8: int | None, taken: bool) -> Verdict:
    assert decision.plan is not None  # noqa: S101 (for the type checker: only decisions with a plan come here)
    if taken:
        return Verdict.TAKEN
    if index in decision.plan.left_out:
        return decision.plan.left_out[index]
    if cost_e8 is None:
        return Verdict.BLOCKED_CODE if row == BLOCKED_ROW else Verdict.NO_CODE
    return Verdict.NO_PROFIT if cost_e8 > decision.most_cost_e8 else Verdict.SURPLUS


def _candidate_order(candidate: Candidate) -> tuple[bool, int, int, int, str]:
    cost_e8 = candidate.comparable_cost_e8 if candidate.comparable_cost_e8 is not None else NO_COST
    return (candidate.position == 0, candidate.position, candidate.priority, cost_e8, candidate.vendor)
