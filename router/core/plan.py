"""How an originator's company uses a route class and its bases at a time: who stands where, who is left out. Pure.

The class's own entries are tried first, then those of its base, and so on. A class that is not active, or outside its
timetable, and an entry that is so, is as if it was not there: the vendor may still be an entry further down. An entry
that is disabled is there, and says no: it hides those of the bases.
"""

from collections.abc import Iterator
from typing import Final

from router.core.model import Placed, Plan
from router.snapshot.config import Peer, RouteClass, RouteEntry
from router.snapshot.store import Snapshot
from schemas.refusals import Verdict
from tariffs.timetable import parse_timetable

NEVER_MS: Final = 1 << 62
_AWAY: Final = frozenset((Verdict.NOT_ACTIVE, Verdict.CLASS_NOT_ACTIVE, Verdict.OUTSIDE_TIMETABLE))


def plan_of(snapshot: Snapshot, peer: Peer, now_ms: int) -> Plan:
    """The plan that holds at `now_ms`, from the snapshot's cache."""
    key = (peer.route_class_id, peer.company_id, peer.pack.currency)
    plan = snapshot.caches.plans.get(key)
    if plan is None or not plan.from_ms <= now_ms < plan.until_ms:
        plan = snapshot.caches.plans[key] = _make_plan(snapshot, peer, now_ms)
    return plan


def class_chain(snapshot: Snapshot, route_class_id: int) -> Iterator[RouteClass]:
    """The class and its bases, the nearest first. The database refuses circles; here one ends where it closes."""
    seen: set[int] = set()
    while route_class_id not in seen:
        seen.add(route_class_id)
        found = snapshot.classes.get(route_class_id)
        if found is None:
            return
        yield found
        route_class_id = found.base_class_id


def _make_plan(snapshot: Snapshot, peer: Peer, now_ms: int) -> Plan:
    number_of = _numbers(snapshot)
    placed: dict[int, Placed] = {}
    left_out: dict[int, Verdict] = {}
    until_ms = NEVER_MS
    for depth, route_class in enumerate(class_chain(snapshot, peer.route_class_id)):
        class_away, class_until_ms = _away(route_class, route_class, now_ms)
        until_ms = min(until_ms, class_until_ms)
        for entry in route_class.entries:
            number = number_of[entry.peer_id]
            if number in placed and left_out.get(number) not in _AWAY:
                continue
            away, entry_until_ms = _away(entry, route_class, now_ms)
            until_ms = min(until_ms, entry_until_ms)
            if number in placed and (class_away or away):
                continue  # the nearest of those that are away is told of
            left_out.pop(number, None)
            placed[number] = Placed(entry, route_class, depth)
            verdict = class_away or away or _refused(snapshot, peer, entry, snapshot.vendors[number])
            if verdict is not None:
                left_out[number] = verdict
    usable = tuple(number for number in sorted(placed) if number not in left_out)
    return Plan(snapshot.vendors, placed, left_out, usable, now_ms, until_ms)


def _numbers(snapshot: Snapshot) -> dict[int, int]:
    """The number of each vendor, once for a snapshot."""
    found = snapshot.caches.numbers
    if found is None:
        found = snapshot.caches.numbers = {vendor.peer_id: at for at, vendor in enumerate(snapshot.vendors)}
    return found


def _away(one: RouteClass | RouteEntry, route_class: RouteClass, now_ms: int) -> tuple[Verdict | None, int]:
    """Why a class or entry is not in use at `now_ms`, and until when that holds."""
    not_active = Verdict.CLASS_NOT_ACTIVE if isinstance(one, RouteClass) else Verdict.NOT_ACTIVE
    if now_ms < one.active_from_ms:
        return not_active, one.active_from_ms
    if one.active_until_ms and now_ms >= one.active_until_ms:
        return not_active, NEVER_MS
    until_ms = one.active_until_ms or NEVER_MS
    timetable = parse_timetable(one.timetable, route_class.time_zone)
    if timetable is None:
        return None, until_ms
    moment = timetable.at(now_ms)
    return None if moment.active else Verdict.OUTSIDE_TIMETABLE, min(until_ms, moment.until_ms)


def _refused(snapshot: Snapshot, peer: Peer, entry: RouteEntry, vendor: Peer) -> Verdict | None:
    if not (entry.enabled and vendor.enabled):
        return Verdict.DISABLED
    if vendor.company_id == peer.company_id:
        return Verdict.OWN_COMPANY
    if not _comparable(snapshot, vendor.pack.currency, peer.pack.currency):
        return Verdict.OTHER_CURRENCY
    return None


def _comparable(snapshot: Snapshot, bought: str, sold: str) -> bool:
    """Whether costs of one currency compare with prices of the other: the same, or both have a rate to the system's."""
    return bought == sold or (bought in snapshot.config.rates and sold in snapshot.config.rates)
