"""The closings of a call that died with its Asterisk, of what its journal lines and the last heartbeat say. Pure.

The end is the last moment at which the call was seen: at the last heartbeat that listed it, or at its newest line. If
an answered leg was closed truly and only the call's own end is missing, the call ends as the leg did, as in the
dialplan. The same lines and the same heartbeat give the same events, whenever they are made.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from agent.restart.last_heartbeat import LastHeartbeat
from schemas.events import CallEnded, Closed, DialStatus, LegAnswered, LegEnded, LegStarted, ReleaseSide
from schemas.ids import make_event_id, make_leg_id
from schemas.journal import JournalEvent

TEMPORARY_FAILURE: Final = 41  # Q.850
_US: ReleaseSide = "us"
LONGEST_MS: Final = 7 * 86_400_000  # of a talk that an event can tell of


class _Lines(NamedTuple):
    """A call's events, by leg."""

    starts: dict[int, LegStarted]
    answers: dict[int, int]
    results: dict[int, LegEnded]
    end: CallEnded | None


class _Times(NamedTuple):
    """When a leg was answered and ended, and how long it talked."""

    answered_at_ms: int | None
    ended_at_ms: int
    duration_ms: int


def close_call(events: Iterable[JournalEvent], last: LastHeartbeat | None) -> list[LegEnded | CallEnded]:
    """What closes the open legs of one call, and the call if it is open too. `last`: of the call's own epoch."""
    lines = _sort(events)
    if not lines.starts:
        return []
    call_id = next(iter(lines.starts.values())).call_id
    seen_at_ms = last.at_ms if last is not None and call_id in last.calls else None
    closed: dict[int, LegEnded] = {}
    for number in sorted(lines.starts.keys() - lines.results.keys()):
        times = _times_of_end(number, lines.end) if lines.end is not None else _times(number, lines, seen_at_ms, last)
        closed[number] = _leg_ended(lines.starts[number], times)
    if lines.end is not None:
        return [*closed.values()]
    return [*closed.values(), _call_ended(lines, closed, seen_at_ms)]


def _sort(events: Iterable[JournalEvent]) -> _Lines:
    starts: dict[int, LegStarted] = {}
    answers: dict[int, int] = {}
    results: dict[int, LegEnded] = {}
    end: CallEnded | None = None
    for event in events:
        if isinstance(event, LegStarted):
            starts.setdefault(event.leg, event)
        elif isinstance(event, LegAnswered):
            answers.setdefault(event.leg, event.answered_at_ms)
        elif isinstance(event, LegEnded):
            results.setdefault(event.leg, event)
        elif end is None:
            end = event
    return _Lines(starts, answers, results, end)


def _times(number: int, lines: _Lines, seen_at_ms: int | None, last: LastHeartbeat | None) -> _Times:
    """Of an open leg of an open call: up to the last heartbeat, never before what the journal tells of."""
    answered_at_ms = lines.answers.get(number)
    known = (lines.starts[number].started_at_ms, answered_at_ms, seen_at_ms)
    ended_at_ms = max(moment for moment in known if moment is not None)
    talk_ms = 0
    if answered_at_ms is not None:
        call_id = lines.starts[number].call_id
        talk_ms = min(last.talk_ms(call_id, answered_at_ms), LONGEST_MS) if last is not None else 0
    return _Times(answered_at_ms, ended_at_ms, talk_ms)


def _times_of_end(number: int, end: CallEnded) -> _Times:
    """Of a leg whose own line is missing while its call's is there: both sides are billed for the same readings."""
    if number == end.legs and end.answered_at_ms is not None:
        return _Times(end.answered_at_ms, end.ended_at_ms, end.duration_ms)
    return _Times(None, end.ended_at_ms, 0)


def _leg_ended(start: LegStarted, times: _Times) -> LegEnded:
    return LegEnded(
        event_id=make_event_id(make_leg_id(start.call_id, start.leg), "leg_estimated"),
        call_id=start.call_id,
        call_started_at_ms=start.call_started_at_ms,
        started_at_ms=start.started_at_ms,
        answered_at_ms=times.answered_at_ms,
        ended_at_ms=times.ended_at_ms,
        duration_ms=times.duration_ms,
        asterisk_duration_ms=None,
        clock_disagreement=False,
        pdd_ms=None,
        # Not answered: it was us who gave up, which speaks neither for nor against the vendor.
        dial_status="ANSWER" if times.answered_at_ms is not None else "CANCEL",
        cause=TEMPORARY_FAILURE,
        release_side="us",
        estimated=True,
        leg=start.leg,
        sip_code=None,
        facts=start.facts,
    )


def _call_ended(lines: _Lines, closed: dict[int, LegEnded], seen_at_ms: int | None) -> CallEnded:
    legs = {**lines.results, **closed}
    last_start = lines.starts[max(lines.starts)]
    answered: Closed | None = next((leg for leg in legs.values() if leg.answered_at_ms is not None), None)
    status: DialStatus = legs[last_start.leg].dial_status
    cause, side = TEMPORARY_FAILURE, _US
    times = _Times(None, max([leg.ended_at_ms for leg in legs.values()] + [seen_at_ms or 0]), 0)
    if answered is not None:
        times = _Times(answered.answered_at_ms, answered.ended_at_ms, answered.duration_ms)
        status, cause, side = answered.dial_status, answered.cause, answered.release_side
    return CallEnded(
        event_id=make_event_id(make_leg_id(last_start.call_id, 0), "call_estimated"),
        call_id=last_start.call_id,
        call_started_at_ms=last_start.call_started_at_ms,
        started_at_ms=last_start.call_started_at_ms,
        answered_at_ms=times.answered_at_ms,
        ended_at_ms=times.ended_at_ms,
        duration_ms=times.duration_ms,
        asterisk_duration_ms=None,
        clock_disagreement=False,
        pdd_ms=None,
        dial_status=status,
        cause=cause,
        release_side=side,
        estimated=True,
        legs=last_start.leg,
        reason="",
        caller_dialled="",  # the line that would have said what the INVITE said is the one that is missing
        callee_dialled="",
        endpoint="",
        remote_address="",
        facts=last_start.call_facts,
        last_facts=last_start.facts,
    )
