"""What router and dialplan (or simulator) say to each other over FastAGI: arguments in, channel variables out.

Request: agi://ROUTER/route?DIGEST with six arguments, the wire's texts URI-encoded:
    agi_arg_1 call_id   agi_arg_2 endpoint   agi_arg_3 remote address (ip:port)
    agi_arg_4 dialled number   agi_arg_5 caller number   agi_arg_6 attempt's start, unix seconds with three decimals
and six that may be left out (who makes no SIP has none):
    agi_arg_7 caller's display name   agi_arg_8 header P-Asserted-Identity   agi_arg_9 header Privacy
    agi_arg_10 header From, for what was verified of it (verstat)
    agi_arg_11 header Max-Forwards
    agi_arg_12 the codecs that Asterisk could answer the caller with, commas between them
Nothing else of the header is read but the script's name and its digest (schemas/agi_digest.py), which is good for one
session. The dialplan takes the wire's texts out of the headers that Asterisk writes unencoded: agi_callerid,
agi_calleridname, agi_dnid. A number that Asterisk has cut ends in an ellipsis.
Answer: channel variables in as few EXEC MSet lines as the limits allow; ROUTES is always the last variable set, so
that a truncated answer has no routes and the call is refused, never half-routed.

agi://ROUTER/who?DIGEST with the first six arguments is asked of a call whose caller had gone before the answer: the
router sets CALL_FACTS alone, and nothing is decided, held or counted.
"""

from typing import Final

AGI_SCRIPT: Final = "route"
WHO_SCRIPT: Final = "who"
AGI_ARGUMENTS: Final = ("call_id", "endpoint", "remote_address", "callee", "caller", "started_at")
AGI_OPTIONAL_ARGUMENTS: Final = ("caller_name", "asserted", "privacy", "sender", "max_forwards", "codecs")

# Variables set on the caller's channel. Per route n from 1: ROUTE_n_DIAL, ROUTE_n_TIMEOUT (seconds), ROUTE_n_FACTS, and
# where they say anything ROUTE_n_PDD, ROUTE_n_RULES, ROUTE_n_HUNTSTOP, ROUTE_n_LIMITS (up to three keys of
# router/core/limit_keys.py joined by "&"), ROUTE_n_CALLER (digits, perhaps a plus before them; none: anonymous),
# ROUTE_n_CALLER_NAME (letters, digits, blank . + _ -), ROUTE_n_WITHHELD ("1": nobody may be shown the caller),
# ROUTE_n_DIVERSION ("1": the caller's Diversion and History-Info are passed on), ROUTE_n_CODECS (what the vendor is
# offered, joined by "-"; none: what its endpoint has).
# The context `limits` moves a route's variables: it names each of them.
LIMITED: Final = "LIMITED"  # "1" if any route has limits: then the dialplan looks for room before each leg
DECISION: Final = "DECISION"  # "ALLOW" or "REFUSE": no ALLOW, no call
REASON: Final = "REASON"  # a Refusal where refused, else empty
REFUSE_CAUSE: Final = "REFUSE_CAUSE"  # Q.850 cause to hang up with where refused
CALL_FACTS: Final = "CALL_FACTS"  # the inbound leg's FACTS (also of a refused call)
MAX_MS: Final = "MAX_MS"  # longest call in milliseconds; never 0
MAX_REASON: Final = "MAX_REASON"  # an Ending: why the call may not be longer than that
STOP_CAUSES: Final = "STOP_CAUSES"  # Q.850 causes after which the hunt stops, joined by "-"
CALL_RULES: Final = "CALL_RULES"  # the customer's release rules (schemas/release.py), where he has any
SETUP_MS: Final = "SETUP_MS"  # longest set-up of the call, over all legs, in milliseconds
RINGBACK: Final = "RINGBACK"  # an option of Dial: "r", ring-back of our own until the answer; not set: the vendor's
CALL_CODECS: Final = "CALL_CODECS"  # what the caller is answered, joined by "-", where that is less than he could be
ATTESTATION: Final = "ATTESTATION"  # A, B or C where we vouch for the caller id outward: header Attestation-Info
ROUTES: Final = "ROUTES"  # how many routes
PDD: Final = "PDD"  # of a route: seconds without a sign of life after which it is given up
RULES: Final = "RULES"  # of a route: its vendor's release rules
DIVERSION: Final = "DIVERSION"  # of a route: "1", its vendor is sent the caller's Diversion and History-Info
CODECS: Final = "CODECS"  # of a route: the codecs that its vendor is offered
HUNTSTOP: Final = "HUNTSTOP"  # of a route: "1", no further route is tried after it

# The called party's own answers, where no vendor does better (release rules may say otherwise). Not 1 (404) and not 21
# (401, 403): those are often the vendor's word on our account, not on the number; the hunt goes on, and as the last
# word they become 34. So do 3 and 23: a vendor that no channel can be made to, or who wants us to call elsewhere (302),
# says nothing about the number either; nor does one whose routes are a loop (483: 25), one whose code has no meaning of
# its own (400, 405, a 487 that answers no CANCEL of ours: 127), or one who gives no sign of life in time.
DEFAULT_STOP_CAUSES: Final = (17, 19, 22, 28)
VENDOR_ACCOUNT_CAUSES: Final = (1, 2, 3, 21, 23, 25, 127)
VENDORS_FAULT_CAUSE: Final = 34
NO_ANSWER_CAUSE: Final = 19  # what the caller hears when it rang and nobody answered in time
MIN_LEFT_MS: Final = 1_000  # of the longest set-up: with less no further leg is begun
MAX_ROUTES: Final = 8
# Above these Asterisk truncates or splits silently (measured): stay well below.
MAX_COMMAND_CHARACTERS: Final = 3_900
MAX_PAIRS: Final = 90


def route_variable(number: int, name: str) -> str:
    """ROUTE_n_NAME."""
    return f"ROUTE_{number}_{name}"
