"""What router and dialplan (or simulator) say to each other over FastAGI: arguments in, channel variables out.

Request: agi://ROUTER/route with six arguments, the wire's texts URI-encoded:
    agi_arg_1 call_id   agi_arg_2 endpoint   agi_arg_3 remote address (ip:port)
    agi_arg_4 dialled number   agi_arg_5 caller number   agi_arg_6 attempt's start, unix seconds with three decimals
and three that may be left out (who makes no SIP has none):
    agi_arg_7 caller's display name   agi_arg_8 header P-Asserted-Identity   agi_arg_9 header Privacy
Answer: channel variables in as few EXEC MSet lines as the limits allow; ROUTES is always the last variable set, so
that a truncated answer has no routes and the call is refused, never half-routed.
"""

from typing import Final

AGI_SCRIPT: Final = "route"
AGI_ARGUMENTS: Final = ("call_id", "endpoint", "remote_address", "callee", "caller", "started_at")
AGI_OPTIONAL_ARGUMENTS: Final = ("caller_name", "asserted", "privacy")

# Variables set on the caller's channel. Per route n from 1: ROUTE_n_DIAL, ROUTE_n_TIMEOUT (seconds), ROUTE_n_FACTS; and
# where there is something to say, ROUTE_n_CALLER (digits, perhaps a plus before them; none: anonymous),
# ROUTE_n_CALLER_NAME (letters, digits, blank . + _ -), ROUTE_n_WITHHELD ("1": nobody may be shown the caller).
DECISION: Final = "DECISION"  # "ALLOW" or "REFUSE": no ALLOW, no call
REASON: Final = "REASON"  # a Refusal where refused, else empty
REFUSE_CAUSE: Final = "REFUSE_CAUSE"  # Q.850 cause to hang up with where refused
CALL_FACTS: Final = "CALL_FACTS"  # the inbound leg's FACTS (also of a refused call)
MAX_MS: Final = "MAX_MS"  # longest call in milliseconds; never 0
MAX_REASON: Final = "MAX_REASON"  # an Ending: why the call may not be longer than that
STOP_CAUSES: Final = "STOP_CAUSES"  # Q.850 causes after which the hunt stops, joined by "-"
ROUTES: Final = "ROUTES"  # how many routes

# The called party's own answers, where no vendor does better. Not 1 (404) and not 21 (401, 403): those are often the
# vendor's word on our account, not on the number; the hunt goes on, and as the last word they become 34. So does 3: a
# vendor that no channel can be made to says nothing about the number either.
DEFAULT_STOP_CAUSES: Final = (17, 19, 22, 28)
VENDOR_ACCOUNT_CAUSES: Final = (1, 2, 3, 21)
MAX_ROUTES: Final = 8
# Above these Asterisk truncates or splits silently (measured): stay well below.
MAX_COMMAND_CHARACTERS: Final = 3_900
MAX_PAIRS: Final = 90
