"""Which limits a call and its routes count in. Pure.

A customer's limits are counted with the hold that admits the call (schemas/postgres/functions/admit.sql), a vendor's in
the node where the leg begins (extensions.conf, [limits]).
"""

from typing import NamedTuple

from router.core.limit_keys import code_key, peer_key, route_key
from router.snapshot.config import CodeLimit, Config, Peer
from router.snapshot.store import Snapshot


class Limit(NamedTuple):
    """A limit by its key: calls at once, calls per second; 0: none."""

    key: str
    max_concurrent: int
    max_cps: int


class Limits(NamedTuple):
    """What a snapshot limits beside the peers themselves."""

    codes: dict[int, dict[str, CodeLimit]]  # by peer
    lengths: dict[int, tuple[int, ...]]  # of a peer's codes, the longest first
    routes: frozenset[tuple[int, int]]  # (route class, vendor) whose entry has a limit

    def of_code(self, peer_id: int, number: str) -> CodeLimit | None:
        """The limit of the longest of the peer's codes that the number begins with."""
        codes = self.codes.get(peer_id)
        if codes is None:
            return None
        for length in self.lengths[peer_id]:
            found = codes.get(number[:length])
            if found is not None:
                return found
        return None


def limits_in(config: Config) -> Limits:
    """The limits of a configuration."""
    codes: dict[int, dict[str, CodeLimit]] = {}
    for limit in config.code_limits:
        codes.setdefault(limit.peer_id, {})[limit.code] = limit
    return Limits(
        codes,
        {peer_id: tuple(sorted({len(code) for code in found}, reverse=True)) for peer_id, found in codes.items()},
        frozenset(
            (route_class.route_class_id, entry.peer_id)
            for route_class in config.route_classes
            for entry in route_class.entries
            if entry.max_concurrent or entry.max_cps
        ),
    )


def limits_of(snapshot: Snapshot) -> Limits:
    """The same, from the snapshot's cache."""
    found = snapshot.caches.limits
    if found is None:
        found = snapshot.caches.limits = limits_in(snapshot.config)
    return found


def call_limits(snapshot: Snapshot, peer: Peer, callee: str) -> tuple[Limit, ...]:
    """The limits of a customer that his call counts in, sorted by key.

    His own is there also where it limits nothing: by its counter is shown how many of his calls go on.
    """
    own = Limit(peer_key(peer.peer_id), peer.max_concurrent, peer.max_cps)
    code = limits_of(snapshot).of_code(peer.peer_id, callee)
    if code is None:
        return (own,)
    return (Limit(code_key(peer.peer_id, code.code), code.max_concurrent, code.max_cps), own)


def route_limits(snapshot: Snapshot, vendor: Peer, route_class_id: int, callee: str) -> tuple[str, ...]:
    """The keys of the limits that a leg to a vendor counts in: only of what is limited.

    `route_class_id`: of the class in which the route's entry stands.
    """
    limits = limits_of(snapshot)
    keys: tuple[str, ...] = (peer_key(vendor.peer_id),) if vendor.max_concurrent or vendor.max_cps else ()
    if (route_class_id, vendor.peer_id) in limits.routes:
        keys += (route_key(route_class_id, vendor.peer_id),)
    code = limits.of_code(vendor.peer_id, callee)
    return keys if code is None else (*keys, code_key(vendor.peer_id, code.code))
