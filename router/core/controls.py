"""What controllers hold in force, as a decision applies it: each block ends at its own moment, whoever is away. Pure.

A vendor or a code that is blocked is among the limits without room (decide.py), so that a hunt passes it by at no
cost. A demoted one stands behind the others of its hunt. A customer who is blocked is refused, one with a cap has it
for his limit of calls at once, where his own is not lower.
"""

from typing import Final, NamedTuple

import msgspec

from router.core.limit_keys import held_key
from router.core.model import Decision, Inbound, Route
from router.snapshot.config import ControlBlock
from router.snapshot.store import Snapshot
from schemas.refusals import Refusal

_NEVER_MS: Final = 1 << 62


class Controls(NamedTuple):
    """What is in force until `until_ms`, when the first of it ends."""

    until_ms: int
    full: frozenset[str] = frozenset()
    demoted: frozenset[str] = frozenset()
    blocked: dict[int, ControlBlock] = {}  # customers  # noqa: RUF012 (never changed)
    caps: dict[int, int] = {}  # noqa: RUF012


def controls_of(snapshot: Snapshot, now_ms: int) -> Controls:
    """What is in force at `now_ms`, from the snapshot's cache."""
    found = snapshot.caches.controls
    if found is None or now_ms >= found.until_ms:
        found = snapshot.caches.controls = make_controls(snapshot, now_ms)
    return found


def make_controls(snapshot: Snapshot, now_ms: int) -> Controls:
    """The same, anew."""
    originators = {peer.peer_id for peer in snapshot.originators}
    held = [block for block in snapshot.config.control_blocks if not block.until_ms or now_ms < block.until_ms]
    caps: dict[int, int] = {}
    for block in held:
        if block.action == "cap":
            caps[block.peer_id] = min(block.cap_concurrent, caps.get(block.peer_id, block.cap_concurrent))
    return Controls(
        until_ms=min((block.until_ms for block in held if block.until_ms), default=_NEVER_MS),
        full=frozenset(
            held_key(one.peer_id, one.code) for one in held if one.action == "block" and one.peer_id not in originators
        ),
        demoted=frozenset(held_key(one.peer_id, one.code) for one in held if one.action == "demote"),
        blocked={one.peer_id: one for one in held if one.action == "block" and one.peer_id in originators},
        caps=caps,
    )


def hold_caller(controls: Controls, inbound: Inbound) -> Inbound:
    """The caller's side with what is in force against him; a refusal of another kind stands."""
    peer = inbound.peer
    if peer is None or inbound.refusal is not None:
        return inbound
    block = controls.blocked.get(peer.peer_id)
    if block is not None:
        return msgspec.structs.replace(inbound, refusal=Refusal.BLOCKED, detail=f"control {block.control}")
    cap = controls.caps.get(peer.peer_id)
    if cap is None or 0 < peer.max_concurrent <= cap:
        return inbound
    return msgspec.structs.replace(inbound, peer=msgspec.structs.replace(peer, max_concurrent=cap))


def move_back(controls: Controls, decision: Decision) -> Decision:
    """The decision with its routes that are demoted last, in their own order."""
    if not controls.demoted or not decision.routes:
        return decision
    routes = sorted(decision.routes, key=lambda route: _is_among(route, controls.demoted))
    return msgspec.structs.replace(decision, routes=tuple(routes))


def _is_among(route: Route, keys: frozenset[str]) -> bool:
    peer_id = route.vendor.peer_id
    return held_key(peer_id) in keys or held_key(peer_id, route.price.code) in keys
