"""The caller's side of a decision: who calls, which number, at what price, and whether he may. Pure."""

from typing import Final

import msgspec

from router.core.attestation import NOT_SIGNED, Level, refuse_why, verified_of, vouched
from router.core.identify import identify
from router.core.model import Inbound, Priced, Request
from router.core.numbers import callee_of, caller_of, stopped_by
from router.core.portability import FAILED, Dip, Ported, must_ask, take_apart
from router.snapshot.blocks import MOST_DETAIL
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer
from router.snapshot.lookups import Lookup
from router.snapshot.store import Snapshot
from schemas.refusals import Refusal
from tariffs.numbers import NumberError

NO_HOPS_LEFT: Final = frozenset(("0", "00", "000"))  # Max-Forwards has up to three digits
SPECIAL_KINDS: Final = frozenset(("premium", "emergency", "short"))


def look_inbound(snapshot: Snapshot, request: Request, now_ms: int) -> Inbound:
    """Who calls and what is known of his call, as far as it was looked at before a refusal."""
    ported: Ported | None = None
    if ";" in request.callee:
        ported = take_apart(request.callee)
        request = request._replace(callee=ported.dialled)
    peer, refusal = _who_calls(snapshot, request)
    numbers, lookups = snapshot.numbers, snapshot.config.lookups
    caller = caller_of(numbers, request, peer)
    if peer is None or refusal is not None:
        return Inbound(refusal, peer, caller.number)
    try:
        callee = callee_of(numbers, request, peer)
    except NumberError as error:
        return Inbound(Refusal.BAD_NUMBER, peer, caller.number, detail=str(error)[:MOST_DETAIL])
    if lookups.dids and (did := lookups.did(callee)):
        peer = msgspec.structs.replace(peer, route_class_id=-did)
    routing_number = _routing_number(request, peer, ported)
    place = snapshot.destinations.find(callee)
    destination_id, kind = snapshot.destination_of[place] if place != NO_CODE else (0, "other")
    by_routing = routing_number and peer.rate_by == "routing"
    price, refusal = _customer_price(snapshot, peer, routing_number if by_routing else callee)
    if price is not None and kind in SPECIAL_KINDS and not _may_call_special(snapshot, peer, price, place):
        refusal = Refusal.BLOCKED
    attestation: Level = ""
    if detail := stopped_by(numbers, peer, caller, callee, destination_id, now_ms):
        refusal = Refusal.BLOCKED
    elif peer.verification != "ignore" or peer.attestation:
        verified = verified_of(request.asserted, request.sender) if peer.trusted else NOT_SIGNED
        attestation = vouched(peer, verified)
        if detail := refuse_why(peer, verified):
            refusal = Refusal.BLOCKED
    if refusal is None and request.dip is not None and _refuses(lookups.lookups.get(peer.lookup_id), request.dip):
        refusal, detail = Refusal.LOOKUP_FAILED, request.dip.words
    return Inbound(
        refusal, peer, caller.number, callee, destination_id, price, caller.name, caller.withheld, detail,
        routing_number, attestation,
    )  # fmt: skip


def lookup_of(snapshot: Snapshot, request: Request) -> tuple[Lookup, str] | None:
    """The look-up that has to be asked before this attempt is decided, and the number; None: there is none."""
    rules = snapshot.config.lookups
    if not rules.lookups:
        return None
    ported = take_apart(request.callee)
    request = request._replace(callee=ported.dialled)
    peer, refusal = _who_calls(snapshot, request)
    if peer is None or refusal is not None:
        return None
    lookup = rules.lookups.get(peer.lookup_id)
    if lookup is None:
        return None
    try:
        callee = callee_of(snapshot.numbers, request, peer)
    except NumberError:
        return None
    asked = must_ask(peer, lookup, callee, dipped=ported.dipped) and not rules.did(callee)
    return (lookup, callee) if asked else None


def _who_calls(snapshot: Snapshot, request: Request) -> tuple[Peer | None, Refusal | None]:
    """The originator, and why its call ends here whatever it is for."""
    peer, refusal = identify(snapshot, request.remote_address, request.callee)
    if refusal is None and request.max_forwards in NO_HOPS_LEFT:
        refusal = Refusal.TOO_MANY_HOPS
    return peer, refusal


def _routing_number(request: Request, peer: Peer, ported: Ported | None) -> str:
    """The number that vendors' codes are matched on; empty where it is the number called."""
    if request.dip is not None and request.dip.outcome not in FAILED:
        return request.dip.routing_number
    return ported.routing_number if ported is not None and peer.trust_lrn else ""


def _refuses(lookup: Lookup | None, dip: Dip) -> bool:
    return lookup is not None and lookup.when_failed == "refuse" and dip.outcome in FAILED


def _customer_price(snapshot: Snapshot, peer: Peer, callee: str) -> tuple[Priced | None, Refusal | None]:
    deck = snapshot.decks.get(peer.deck_id)
    place = deck.index.find(callee) if deck is not None else NO_CODE
    if deck is None or place == NO_CODE:
        return None, Refusal.NOT_BILLABLE
    price_e8 = deck.prices_e8[place]
    if price_e8 < 0:
        return None, Refusal.BLOCKED
    if price_e8 == 0 and not peer.pack.allow_free_codes:
        return None, Refusal.NOT_BILLABLE
    return Priced(callee[: deck.index.lengths[place]], deck.price_ids[place], price_e8), None


def _may_call_special(snapshot: Snapshot, peer: Peer, price: Priced, destination: int) -> bool:
    """Premium, emergency, short: the customer must have leave, and a price for that very code or a longer one."""
    return peer.allow_special and len(price.code) >= snapshot.destinations.lengths[destination]
