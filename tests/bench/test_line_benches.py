"""The benches of the line, small: the rating core rates every leg, and the made journal is what the dialplan writes."""

import itertools

from journal_events import events_of

from bench.line_world import Parties, make_calls
from bench.p4_rating import measure
from schemas.events import CallEnded, LegEnded


def test_the_rating_core_is_measured_beside_reading_alone_and_the_naive_way() -> None:
    figures = measure(["--legs", "2000", "--naive-legs", "500", "--turns", "1"])
    assert 2_000 <= figures["legs"] < 3_000
    assert min(figures[name] for name in ("legs_per_second", "bare_legs_per_second", "naive_legs_per_second")) > 0


def test_a_made_call_is_lines_of_the_journal_with_all_its_legs() -> None:
    parties = Parties([2001, 2002], [3001, 3002, 3003])
    hunts = set()
    for caller in itertools.islice(make_calls(parties), 300):
        call = caller.lines(1_795_608_000_000)
        events = events_of(call.text.splitlines(keepends=True))
        closed = [event for event in events if isinstance(event, LegEnded | CallEnded)]
        assert len(closed) == call.legs
        assert {event.call_id for event in events} == {call.call_id}
        assert bool(call.account) == (call.legs > 1)  # what was refused has no hold
        hunts.add(call.legs - 1)
    assert hunts == {0, 1, 2, 3}
