"""The keys of limits: what World.full holds, and what counts the calls. Pure.

What a controller blocks has a key of its own, of the vendor or of its code as bought: there is no room either.
One of a peer (customer or vendor), one of a route (a vendor in the route class that its entry stands in), one of a
vendor's code as bought. A vendor with too many open dead letters has one as well.
"""


def peer_key(peer_id: int) -> str:
    """The key of a peer's own limits."""
    return f"p{peer_id}"


def route_key(route_class_id: int, peer_id: int) -> str:
    """The key of a route's limits: `route_class_id` is that of the class in which the entry stands, own or base."""
    return f"r{route_class_id}-{peer_id}"


def code_key(peer_id: int, code: str) -> str:
    """The key of the limits of a peer's code."""
    return f"c{peer_id}-{code}"


def held_key(peer_id: int, code: str = "") -> str:
    """The key of a vendor, or of one of its codes as bought, that a controller blocks."""
    return f"b{peer_id}-{code}"


def stopped_key(peer_id: int) -> str:
    """The key of a vendor that is passed over for its open dead letters."""
    return f"s{peer_id}"
