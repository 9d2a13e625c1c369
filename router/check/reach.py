"""Which vendors answer, as the nodes know it now: for check-routing, and for whoever shows it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import psycopg

from router.check.limits import Known
from router.check.question import Question
from router.check.saved import Lend
from router.server.reach import PROBES_UNANSWERED, why_silent
from router.server.vendor_reach import VendorReach, read_vendors, vendor_reach

_NONE: Final[Mapping[int, str]] = MappingProxyType({})


class Reached(NamedTuple):
    """What a question is answered with: who is skipped, by peer id and why; what is shown; whether it is known."""

    unreachable: Mapping[int, str] = _NONE
    vendors: tuple[VendorReach, ...] = ()
    known: Known = "unknown"


NOT_KNOWN: Final = Reached()


def read_reached(lend: Lend, question: Question) -> Reached:
    """Of another moment than now nobody knows it. Without a node all are shown, and none is skipped."""
    if question.at_ms is not None:
        return NOT_KNOWN
    try:
        with lend() as connection:
            found = read_vendors(connection, node=question.node)
    except psycopg.Error:
        return Reached(known="away")
    skipped = [one for one in found if one.state in ("skipped", "unreachable")] if question.node else []
    return Reached(
        {
            one.peer_id: PROBES_UNANSWERED if one.state == "unreachable" else why_silent(one.silent_invites)
            for one in skipped
        },
        tuple(map(vendor_reach, found)),
        "read" if question.node else "unknown",
    )
