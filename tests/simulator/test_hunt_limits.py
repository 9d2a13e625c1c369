"""PDD and set-up limits, release rules and redirects in the simulator's hunt, at the millisecond."""

from collections.abc import Callable
from typing import Any

import pytest
from journal_events import events_of

from schemas import agi, events, journal
from simulator.hunt import Hunt
from simulator.lines import Call, Line
from simulator.plans import LegPlan

START_MS = 1_800_000_000_000
ANSWERED = LegPlan(ring_ms=100, final_ms=300, talk_ms=1_000)
Allow = Callable[..., dict[str, str]]


def play(said: dict[str, str], *plans: LegPlan) -> list[Any]:
    """The events that close legs and call."""
    call = Call("sim1-1800000000-1800000000.7", START_MS, "c-x", "127.1.0.1:5060", "44770", "1", 600_000)
    hunt = Hunt(call, lambda number, _facts: plans[number - 1])
    outputs = hunt.take_routes(said, START_MS)
    while hunt.next_at_ms is not None:
        outputs += hunt.step()
    made = events_of(journal.encode_line(one.kind, "1", one.values) for one in outputs if isinstance(one, Line))
    return [event for event in made if isinstance(event, events.LegEnded | events.CallEnded)]


@pytest.mark.parametrize(
    ("plan", "left_ms"),
    [
        (LegPlan(), 3_000),
        (LegPlan(ring_ms=3_001, final_ms=4_000), 3_000),
        (LegPlan(final_ms=3_001), 3_000),
        (LegPlan(ring_ms=3_000, final_ms=4_000, talk_ms=500), 4_500),
        (LegPlan(progress_ms=10, final_ms=4_000, talk_ms=500), 4_500),
        (LegPlan(final_ms=3_000, talk_ms=500), 3_500),
    ],
)
def test_a_vendor_is_given_up_without_a_sign_of_life(allow_routes: Allow, plan: LegPlan, left_ms: int) -> None:
    leg = play(allow_routes([101, 102], "44770") | {"ROUTE_1_PDD": "3"}, plan, ANSWERED)[0]
    assert leg.ended_at_ms - leg.started_at_ms == left_ms
    given_up = left_ms == 3_000
    assert (leg.cause, leg.dial_status) == ((18, "CHANUNAVAIL") if given_up else (16, "ANSWER"))


def test_the_set_up_limit_cuts_a_ringing_and_begins_no_leg_with_less_than_a_second(allow_routes: Allow) -> None:
    said = allow_routes([101, 102, 103], "44770") | {agi.SETUP_MS: "5000"}
    first, second, call = play(said, LegPlan(final_ms=1_000, sip_code=503), LegPlan(ring_ms=100), ANSWERED)
    assert (first.ended_at_ms - START_MS, second.ended_at_ms - START_MS) == (1_000, 5_000)
    assert (call.cause, call.reason, call.legs, call.ended_at_ms) == (19, "SETUP TIME OVER", 2, START_MS + 5_000)
    *_, late = play(said, LegPlan(final_ms=4_001, sip_code=503))
    assert (late.cause, late.reason, late.legs) == (34, "SETUP TIME OVER", 1)
    *_, in_time = play(said, LegPlan(final_ms=4_000, sip_code=503), LegPlan(final_ms=999, talk_ms=1))
    assert (in_time.cause, in_time.reason, in_time.legs) == (16, "", 2)


def test_a_redirect_ends_the_leg_and_the_hunt_goes_on(allow_routes: Allow) -> None:
    redirected, answered, _ = play(allow_routes([101, 102], "44770"), LegPlan(final_ms=5, sip_code=302), ANSWERED)
    assert (redirected.sip_code, redirected.cause, redirected.release_side) == (302, 23, "callee")
    assert answered.dial_status == "ANSWER"
    *_, call = play(allow_routes([101], "44770"), LegPlan(final_ms=5, sip_code=302))
    assert call.cause == 34


def test_rules_are_each_routes_own(allow_routes: Allow) -> None:
    said = allow_routes([101, 102, 103], "44770") | {"ROUTE_1_RULES": "-17-c", "ROUTE_2_HUNTSTOP": "1"}
    busy = LegPlan(final_ms=5, sip_code=486)
    *legs, call = play(said, busy, LegPlan(final_ms=5, sip_code=500), ANSWERED)
    assert ([leg.sip_code for leg in legs], call.cause) == ([486, 500], 38)
