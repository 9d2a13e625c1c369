"""Active calls: an order-insensitive fold over the events of a call, for the live view.

The journal, AMI and replays bring a call's events in any order and more than once. Every field is therefore set once
and merged by a rule that commutes (the smallest time that was seen), so that any order and any duplicates give the
same state. A call that has ended stays for a while, so that a late event cannot bring it back, and is then swept.
"""

from typing import Final

import msgspec

from schemas import events
from schemas.live import LiveCall, LiveLeg

CallEvent = events.LegStarted | events.LegRinging | events.LegAnswered | events.LegEnded | events.CallEnded
LINGER_MS: Final = 60_000  # how long an ended call stays
# A call whose end never came (its node died; its closing is another's work) does not stay in the view for ever.
ABANDONED_MS: Final = 26 * 3_600_000


def new_call(call_id: str) -> LiveCall:
    """A call of which nothing is known yet."""
    return LiveCall(call_id=call_id)


def apply(call: LiveCall, event: CallEvent) -> LiveCall:
    """The call after one more event of it."""
    if isinstance(event, events.CallEnded):
        return msgspec.structs.replace(
            call,
            ended_at_ms=_earliest(call.ended_at_ms, event.ended_at_ms),
            call_started_at_ms=_earliest(call.call_started_at_ms, event.call_started_at_ms),
            call_facts=call.call_facts or event.facts,
        )
    before = next((leg for leg in call.legs if leg.leg == event.leg), LiveLeg(leg=event.leg))
    after = _apply_to_leg(before, event)
    legs = tuple(sorted([*(leg for leg in call.legs if leg.leg != event.leg), after], key=lambda leg: leg.leg))
    call = msgspec.structs.replace(call, legs=legs)
    if isinstance(event, events.LegStarted):
        call = msgspec.structs.replace(
            call,
            call_started_at_ms=_earliest(call.call_started_at_ms, event.call_started_at_ms),
            call_facts=call.call_facts or event.call_facts,
        )
    elif isinstance(event, events.LegEnded):
        call = msgspec.structs.replace(
            call, call_started_at_ms=_earliest(call.call_started_at_ms, event.call_started_at_ms)
        )
    return call


def is_over(call: LiveCall, now_ms: int) -> bool:
    """Whether the call may leave the table: it or all its legs ended some time ago, or it started so long ago that no
    call lasts so long.
    """
    if call.ended_at_ms is not None:
        return now_ms - call.ended_at_ms > LINGER_MS
    ends = [leg.ended_at_ms for leg in call.legs if leg.ended_at_ms is not None]
    if ends and len(ends) == len(call.legs):  # the next leg, or the call's end, follows at once: it was let go already
        return now_ms - max(ends) > LINGER_MS
    if call.call_started_at_ms is not None:
        return now_ms - call.call_started_at_ms > ABANDONED_MS
    # Nothing but what AMI saw, or the rest of a repeat: the call itself is not known yet, or has been let go already.
    known = max((at for leg in call.legs for at in (leg.ringing_at_ms, leg.answered_at_ms) if at), default=0)
    return now_ms - known > LINGER_MS


def _apply_to_leg(
    leg: LiveLeg, event: events.LegStarted | events.LegRinging | events.LegAnswered | events.LegEnded
) -> LiveLeg:
    if isinstance(event, events.LegStarted):
        return msgspec.structs.replace(
            leg, facts=leg.facts or event.facts, started_at_ms=_earliest(leg.started_at_ms, event.started_at_ms)
        )
    if isinstance(event, events.LegRinging):
        return msgspec.structs.replace(leg, ringing_at_ms=_earliest(leg.ringing_at_ms, event.ringing_at_ms))
    if isinstance(event, events.LegAnswered):
        return msgspec.structs.replace(leg, answered_at_ms=_earliest(leg.answered_at_ms, event.answered_at_ms))
    return msgspec.structs.replace(
        leg,
        facts=leg.facts or event.facts,
        started_at_ms=_earliest(leg.started_at_ms, event.started_at_ms),
        answered_at_ms=_earliest(leg.answered_at_ms, event.answered_at_ms),
        ended_at_ms=_earliest(leg.ended_at_ms, event.ended_at_ms),
    )


def _earliest(one_ms: int | None, other_ms: int | None) -> int | None:
    if one_ms is None or other_ms is None:
        return other_ms if one_ms is None else one_ms
    return min(one_ms, other_ms)
