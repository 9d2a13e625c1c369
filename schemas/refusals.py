"""Why a call was refused, and what the caller hears: one table for router, dialplan, simulator, CDR and pages.

Causes are ITU-T Q.850; the SIP code is what Asterisk sends for that cause (tested on the real one).
"""

from enum import StrEnum
from typing import Final


class Refusal(StrEnum):
    """A reason for which a whole call is refused. The value is the text in the journal, the CDR and on the pages."""

    UNAUTHORISED = "UNAUTHORISED"
    DISABLED = "DISABLED"
    BLOCKED = "BLOCKED"
    NO_BALANCE = "NO BALANCE"
    TOO_MANY_HOPS = "TOO MANY HOPS"  # the INVITE's Max-Forwards is used up: a loop
    BAD_NUMBER = "BAD NUMBER"
    NO_ROUTE = "NO ROUTE"
    NOT_BILLABLE = "NOT BILLABLE"
    NO_PROFITABLE_ROUTE = "NO PROFITABLE ROUTE"
    ROUTER_UNAVAILABLE = "ROUTER UNAVAILABLE"
    DATABASE_UNAVAILABLE = "DATABASE UNAVAILABLE"
    OVERLOAD = "OVERLOAD"
    LIMIT = "LIMIT"
    NODE_SILENT = "NODE SILENT"  # prepaid, and nobody on the node could cut the call when its money ends
    NODE_DISK_FULL = "NODE DISK FULL"  # nearly: what is left is for the journal of the calls in progress
    ROUTER_DISK_FULL = "ROUTER DISK FULL"
    NO_COMMON_CODEC = "NO COMMON CODEC"  # the caller has none that a vendor has, who would be tried otherwise
    LOOKUP_FAILED = "LOOKUP FAILED"  # and its originator asked not to route then
    DEAD_LETTERS = "DEAD LETTERS"  # of its originator too many are open: its calls would not be billed
    VENDORS_UNREACHABLE = "VENDORS UNREACHABLE"  # every vendor that may be tried is skipped, as it does not answer


class Ending(StrEnum):
    """Why we ended a call that had routes: in journal, CDR and pages it stands where refused calls have theirs."""

    BALANCE_EXHAUSTED = "BALANCE EXHAUSTED"
    LONGEST_CALL = "LONGEST CALL"
    SETUP_TIME_OVER = "SETUP TIME OVER"  # nobody had answered within the customer's longest set-up
    NODE_DIED = "NODE DIED"  # before any line of the call was written: closed by estimate, not answered
    MEDIA_TIMEOUT = "MEDIA TIMEOUT"  # one side of an answered call had sent no RTP for its rtp_timeout


# What the node agent hangs a call up with when its money ends: "normal, unspecified". By it the dialplan knows the cut
# from any other end of ours, as nothing else of ours ends an answered call so; whoever is told it sees an ordinary end.
CUT_CAUSE: Final = 31


# What Asterisk hangs up a channel with that has sent no RTP for its rtp_timeout: "requested channel unavailable".
MEDIA_TIMEOUT_CAUSE: Final = 44


REFUSAL_CAUSE: Final[dict[Refusal, int]] = {
    Refusal.UNAUTHORISED: 21,
    Refusal.DISABLED: 21,
    Refusal.BLOCKED: 21,
    Refusal.NO_BALANCE: 21,
    Refusal.TOO_MANY_HOPS: 25,
    Refusal.BAD_NUMBER: 28,
    Refusal.NO_ROUTE: 3,
    Refusal.NOT_BILLABLE: 34,
    Refusal.NO_PROFITABLE_ROUTE: 34,
    Refusal.ROUTER_UNAVAILABLE: 34,
    Refusal.DATABASE_UNAVAILABLE: 34,
    Refusal.OVERLOAD: 42,
    Refusal.LIMIT: 44,
    Refusal.NODE_SILENT: 34,
    Refusal.NODE_DISK_FULL: 34,
    Refusal.ROUTER_DISK_FULL: 34,
    Refusal.NO_COMMON_CODEC: 58,
    Refusal.LOOKUP_FAILED: 34,
    Refusal.DEAD_LETTERS: 34,
    Refusal.VENDORS_UNREACHABLE: 34,
}


class Verdict(StrEnum):
    """What became of one candidate (vendor) in a decision."""

    TAKEN = "TAKEN"
    SURPLUS = "SURPLUS"  # good, but behind the longest hunt allowed
    DISABLED = "DISABLED"
    BLOCKED_CODE = "BLOCKED CODE"
    NO_CODE = "NO CODE"
    OTHER_CURRENCY = "OTHER CURRENCY"
    NO_PROFIT = "NO PROFIT"
    OWN_COMPANY = "OWN COMPANY"  # never back to the originator's company
    LIMIT = "LIMIT"
    BLOCKED = "BLOCKED"  # by a rule of this vendor's: a code, a zone, a pool
    BAD_TRANSLATION = "BAD TRANSLATION"  # its patterns make no number of this one
    NO_COMMON_CODEC = "NO COMMON CODEC"  # with the caller, or with what the call has for a vendor before it
    NOT_ACTIVE = "NOT ACTIVE"  # the entry: before its first moment, or after its last
    CLASS_NOT_ACTIVE = "CLASS NOT ACTIVE"
    OUTSIDE_TIMETABLE = "OUTSIDE TIMETABLE"  # of the class or of the entry
    BLOCKED_BY_CONTROL = "BLOCKED BY CONTROL"  # a controller found its quality too bad
    DEAD_LETTERS = "DEAD LETTERS"  # of it too many are open: its legs would not be billed
    UNREACHABLE = "UNREACHABLE"  # skipped: it does not answer INVITEs, or the OPTIONS that it wants to be probed by


# What the caller hears for a cause: Asterisk 22's own table, as the dialplan uses it (tested on the real one). What is
# not here is 503, by the dialplan's PJSIPHangup, and 25's code comes from it too: Asterisk itself would say 603, which
# tells a caller not to try elsewhere.
SIP_OF_CAUSE: Final[dict[int, int]] = {
    1: 404, 2: 404, 3: 404, 17: 486, 18: 408, 19: 480, 20: 480, 21: 403, 22: 410, 25: 483, 27: 502, 28: 484, 29: 501,
    31: 480, 38: 500, 58: 488, 127: 500,
}  # fmt: skip
