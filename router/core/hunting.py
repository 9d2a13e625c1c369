"""What the dialplan is told about a hunt beside where to dial: limits, release rules, ring-back. Pure."""

from router.snapshot.config import Peer, RouteEntry
from schemas.agi import CALL_RULES, HUNTSTOP, PDD, RINGBACK, RULES, SETUP_MS


def call_variables(originator: Peer) -> list[tuple[str, str]]:
    """What holds for the whole hunt. What says nothing is left out: few variables make a fast session."""
    found = [(SETUP_MS, str(originator.max_setup_seconds * 1000))]
    if originator.release_rules:
        found.append((CALL_RULES, originator.release_rules))
    if originator.ringback == "generate":
        found.append((RINGBACK, "r"))
    return found


def route_rules(entry: RouteEntry, vendor: Peer) -> list[tuple[str, str]]:
    """What holds for one route, where it says anything: the route's own word before its vendor's.

    By the end of the variable's name: ROUTE_n_ is put before it.
    """
    found = []
    if pdd_seconds := entry.pdd_timeout_seconds or vendor.pdd_timeout_seconds:
        found.append((PDD, str(pdd_seconds)))
    if vendor.release_rules:
        found.append((RULES, vendor.release_rules))
    if entry.huntstop or vendor.huntstop:
        found.append((HUNTSTOP, "1"))
    return found
