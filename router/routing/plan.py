"""How an originator's company uses a route class: which vendors, in which groups, and why others are left out. Pure."""

from typing import Final

from router.routing.model import Group, Plan
from router.snapshot.config import Peer
from router.snapshot.prices import NO_VENDOR
from router.snapshot.store import Snapshot
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
