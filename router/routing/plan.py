"""How an originator's company uses a route class: which vendors, in which groups, and why others are left out. Pure."""

from typing import Final

from router.routing.model import Group, Plan
from router.snapshot.config import Peer
from router.snapshot.prices import NO_VENDOR
from router.snapshot.store import Snapshot, VendorMatrix
from schemas.refusals import Verdict

_ALL_VENDORS: Final = frozenset(range(NO_VENDOR + 1))


def plan_of(snapshot: Snapshot, peer: Peer) -> Plan:
    """The plan, from the snapshot's cache."""
    key = (peer.route_class_id, peer.company_id, peer.pack.currency)
    plan = snapshot.plans.get(key)
    if plan is None:
        # A cache of what is a function of the frozen snapshot: filling it twice at once would do no harm.
        plan = snapshot.plans[key] = _make_plan(snapshot, peer)
    return plan


def _make_plan(snapshot: Snapshot, peer: Peer) -> Plan:
    route_class = snapshot.classes.get(peer.route_class_id)
    index_of = {vendor.peer_id: index for index, vendor in enumerate(snapshot.vendors)}
    entries = {index_of[entry.peer_id]: entry for entry in route_class.entries} if route_class else {}
    left_out: dict[int, Verdict] = {}
    usable: dict[int, set[int]] = {}
    for index, entry in entries.items():
        vendor = snapshot.vendors[index]
        if not (entry.enabled and vendor.enabled):
            left_out[index] = Verdict.DISABLED
        elif vendor.company_id == peer.company_id:
            left_out[index] = Verdict.OWN_COMPANY
        elif vendor.pack.currency != peer.pack.currency:
            left_out[index] = Verdict.OTHER_CURRENCY
        else:
            usable.setdefault(entry.priority, set()).add(index)
    groups = tuple(Group(priority, _parts(snapshot, members)) for priority, members in sorted(usable.items()))
    return Plan(groups, left_out, entries)


def _parts(snapshot: Snapshot, members: set[int]) -> tuple[tuple[VendorMatrix, bytes], ...]:
    """The matrices that these vendors stand in, and of each what is removed from its rows to leave them."""
    parts = []
    for matrix in snapshot.matrices:
        of_matrix = {
            member - matrix.first for member in members if matrix.first <= member < matrix.first + len(matrix.vendors)
        }
        if of_matrix:
            parts.append((matrix, bytes(sorted(_ALL_VENDORS - of_matrix))))
    return tuple(parts)
