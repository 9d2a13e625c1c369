"""The caller's side of a decision: who calls, which number, at what price, and whether he may. Pure."""

from typing import Final

from router.identify import identify
from router.routing.model import Inbound, Priced, Request
from router.routing.numbers import callee_of, caller_of, stopped_by
from router.snapshot.blocks import MOST_DETAIL
from router.snapshot.code_index import NO_CODE
from router.snapshot.config import Peer
from router.snapshot.store import Snapshot
from schemas.refusals import Refusal
from tariffs.numbers import NumberError

SPECIAL_KINDS: Final = frozenset(("premium", "emergency", "short"))


def look_inbound(snapshot: Snapshot, request: Request, now_ms: int) -> Inbound:
    """Who calls and what is known of his call, as far as it was looked at before a refusal."""
    peer, refusal = identify(snapshot, request.remote_address, request.callee)
    caller = caller_of(snapshot.numbers, request, peer)
    if peer is None or refusal is not None:
        return Inbound(refusal, peer, caller.number)
    try:
        callee = callee_of(snapshot.numbers, request, peer)
    except NumberError as error:
        return Inbound(Refusal.BAD_NUMBER, peer, caller.number, detail=str(error)[:MOST_DETAIL])
    place = snapshot.destinations.find(callee)
    destination_id, kind = snapshot.destination_of[place] if place != NO_CODE else (0, "other")
    price, refusal = _customer_price(snapshot, peer, callee)
    if price is not None and kind in SPECIAL_KINDS and not _may_call_special(snapshot, peer, price, place):
        refusal = Refusal.BLOCKED
    detail = stopped_by(snapshot.numbers, peer, caller, callee, destination_id, now_ms)
    if detail:
        refusal = Refusal.BLOCKED
    return Inbound(refusal, peer, caller.number, callee, destination_id, price, caller.name, caller.withheld, detail)


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
