"""How a vendor stands on a node, in words, for pages and the command line. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dashboards.kit import formats

if TYPE_CHECKING:
    from router.server.vendor_reach import VendorReach

_REACH: Final[Mapping[str, str]] = {
    "reachable": "answers",
    "silent": "{invites} in a row without a response",
    "skipped": "skipped: {invites} in a row without a response",
    "due": "{invites} in a row without a response: the next call tries it",
    "unreachable": "skipped: its OPTIONS probes are not answered",
    "unknown": "not known",
}


def reach_line(one: "VendorReach") -> str:
    """How a vendor stands on a node, and how old the newest sign of it is."""
    invites = "1 INVITE" if one.silent_invites == 1 else f"{one.silent_invites} INVITEs"
    tried = f", tried again in {one.next_try_seconds:.0f} s" if one.state == "skipped" and one.next_try_seconds else ""
    age = f" ({formats.duration(one.age_seconds)} ago)" if one.age_seconds is not None else ""
    return f"{one.vendor} on {one.node}: {_REACH[one.state].format(invites=invites)}{age}{tried}"
