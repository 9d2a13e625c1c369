"""The FACTS texts of a call's routes, quickly: what is the vendor's own is put into words once, not at every call.

The same as `encode_facts(route_facts(decision, route))` for every route, which is what its test says.
"""

from typing import Final

from router.routing import Decision, Route
from router.snapshot.config import Peer
from schemas.facts import FACTS_VERSION, ROUNDING_LETTER

_KEPT: Final = 4096
# By identity, for to hash a peer costs more than to find it; the peer is kept beside, so that no other can have its
# place in memory. A snapshot's peers go when those of the next have filled it: they hold nothing of its mapped files.
_texts: dict[int, tuple[Peer, str, str]] = {}


def route_facts_texts(decision: Decision) -> list[str]:
    """The outbound legs' FACTS, in the order of the routes."""
    peer, inbound = decision.peer, decision.inbound
    company_id, peer_id = (peer.company_id, peer.peer_id) if peer else (0, 0)
    first = f"{FACTS_VERSION};p;{decision.snapshot.config.generation};{company_id};{peer_id};"
    destination = f";{inbound.destination_id};"
    return [_text(route, first, destination) for route in decision.routes]


def _text(route: Route, first: str, destination: str) -> str:
    vendor, price, sent = route.vendor, route.price, route.sent
    kept = _texts.get(id(vendor))
    if kept is None or kept[0] is not vendor:
        kept = _keep(vendor)
    return (
        f"{first}{kept[1]}{price.code};{price.price_id}{destination}{price.price_e8};{kept[2]};"
        f"{sent.caller.removeprefix('+')};{sent.callee.removeprefix('+')}"
    )


def _keep(vendor: Peer) -> tuple[Peer, str, str]:
    pack = vendor.pack
    who = f"{vendor.company_id};{vendor.peer_id};{vendor.account.account_id};{pack.currency};"
    terms = (
        f"{pack.connect_fee_micros};{pack.minimum_seconds};{pack.increment_seconds};{pack.free_seconds};"
        f"{pack.rounding_decimals};{ROUNDING_LETTER[pack.duration_rounding]}"
    )
    if len(_texts) >= _KEPT:
        _texts.clear()
    kept = _texts[id(vendor)] = (vendor, who, terms)
    return kept
