"""SIPp's scenarios for real calls, as texts. Pure. The demo's trickle and the tests use the same.

vendors     answer, refuse, redirect or let it ring
callers     talk, give up or are refused
parts       what both are put together from
"""

from simulator.sipp.scenarios.callers import (
    caller_gives_up,
    caller_gives_up_unheard,
    caller_holds,
    caller_listens,
    caller_refers,
    caller_refused,
    caller_talks,
    callers_of_all_kinds,
    callers_who_give_up,
    callers_who_listen,
    callers_who_take_any_end,
)
from simulator.sipp.scenarios.vendors import (
    ANSWER_MS,
    EARLY_MEDIA_ENDING,
    VENDOR_ENDS_ENDING,
    VENDOR_TALKS_MS,
    vendor_answers,
    vendor_answers_after,
    vendor_answers_without_media,
    vendor_hangs_up_at_once,
    vendor_is_silent,
    vendor_plays_and_refuses,
    vendor_redirects,
    vendor_refers,
    vendor_refuses,
    vendor_refuses_as_told,
    vendor_rings,
)

__all__ = [
    "ANSWER_MS", "EARLY_MEDIA_ENDING", "VENDOR_ENDS_ENDING", "VENDOR_TALKS_MS", "caller_gives_up",
    "caller_gives_up_unheard", "caller_holds", "caller_listens", "caller_refers", "caller_refused", "caller_talks",
    "callers_of_all_kinds", "callers_who_give_up", "callers_who_listen", "callers_who_take_any_end",
    "vendor_answers", "vendor_answers_after", "vendor_answers_without_media", "vendor_hangs_up_at_once",
    "vendor_is_silent", "vendor_plays_and_refuses", "vendor_redirects", "vendor_refers", "vendor_refuses",
    "vendor_refuses_as_told", "vendor_rings",
]  # fmt: skip
