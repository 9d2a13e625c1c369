"""What Asterisk and the dialplan make of a vendor's final SIP answer: Q.850 cause, and from that DIALSTATUS. Pure."""

from typing import Final

from schemas.release import LOOP_CAUSE, REDIRECTED_CAUSE

# chan_pjsip's table, but for 483, as the dialplan has it; what is not in it goes by its class.
CAUSE_OF_SIP: Final[dict[int, int]] = {
    401: 21, 403: 21, 404: 1, 405: 127, 407: 21, 408: 18, 409: 41, 410: 22, 420: 3, 480: 19, 483: LOOP_CAUSE, 484: 28,
    485: 1, 486: 17, 488: 58, 500: 38, 501: 29, 502: 27, 503: 34, 504: 102, 505: 127, 600: 17, 603: 21, 604: 1, 606: 58,
}  # fmt: skip
_CAUSE_OF_CLASS: Final = {3: REDIRECTED_CAUSE, 4: 127, 5: 34, 6: 127}

REASON_PHRASES: Final[dict[int, str]] = {
    100: "Trying", 200: "OK", 302: "Moved Temporarily", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
    480: "Temporarily Unavailable", 484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere",
}  # fmt: skip


def cause_of_sip(sip_code: int) -> int:
    """The Q.850 cause of a leg that ends by this final SIP answer of 300 or more."""
    return CAUSE_OF_SIP.get(sip_code, _CAUSE_OF_CLASS.get(sip_code // 100, 16))


def dial_status_of_cause(cause: int) -> str:
    """DIALSTATUS of a Dial whose one channel ended unanswered with this cause."""
    if cause in (17, REDIRECTED_CAUSE):
        return "BUSY"
    if cause == 34:
        return "CONGESTION"
    return "NOANSWER" if cause in (0, 16, 19) else "CHANUNAVAIL"


def status_line(sip_code: int) -> str:
    """The answer as Asterisk keeps it: `SIP 486 Busy Here`."""
    return f"SIP {sip_code} {REASON_PHRASES.get(sip_code, 'Whatever')}"
