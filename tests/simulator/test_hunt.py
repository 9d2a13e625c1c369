"""The hunt: whatever router, vendors and callers do, its lines are whole, in order, and close each leg exactly once."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_events import events_of

from schemas import agi, events, journal
from simulator.hunt import Hunt, HuntError, Output, Signal
from simulator.lines import Call, Line, seconds
from simulator.plans import LegPlan

START_MS = 1_800_000_000_100
CALLEE = "447700900123"
ANSWERED = LegPlan(ring_ms=1_500, progress_ms=1_800, final_ms=4_000, talk_ms=30_000, ended_by="caller")


def make_call(patience_ms: int = 60_000) -> Call:
    return Call(
        call_id="sim1-1800000000-1800000000.7",
        started_at_ms=START_MS,
        endpoint="c-alpha",
        remote_address="127.1.0.1:5060",
        callee="+" + CALLEE,
        caller='"x" <1>|y=z',
        patience_ms=patience_ms,
    )


def play(
    variables: Mapping[str, str] | None,
    *plans: LegPlan,
    patience_ms: int = 60_000,
    routed_after_ms: int = 5,
    hang_up_after_ms: int | None = None,
) -> tuple[list[Any], list[Output]]:
    """The events of the lines of one call, and all outputs; the call is hung up from outside after so long."""
    hunt = Hunt(make_call(patience_ms), lambda number, facts: plans[number - 1])
    outputs: list[Output] = []
    if hang_up_after_ms is not None and hang_up_after_ms <= routed_after_ms:
        outputs += hunt.hang_up(START_MS + hang_up_after_ms)
    outputs += hunt.take_routes(variables, START_MS + routed_after_ms)
    while hunt.next_at_ms is not None:
        if hang_up_after_ms is not None and hunt.next_at_ms >= START_MS + hang_up_after_ms:
            outputs += hunt.hang_up(START_MS + hang_up_after_ms)
            break
        outputs += hunt.step()
    assert hunt.state == "over"
    lines = [output for output in outputs if isinstance(output, Line)]
    texts = (journal.encode_line(line.kind, seconds(line.at_ms), line.values) for line in lines)
    return events_of(texts), outputs


Allow = Callable[..., dict[str, str]]


def test_answered_at_the_first_vendor(allow_routes: Allow) -> None:
    made, outputs = play(allow_routes([101], CALLEE), ANSWERED)
    assert [type(event) for event in made] == [
        events.LegStarted, events.LegAnswered, events.LegEnded, events.CallEnded,
    ]  # fmt: skip
    started, answered, leg, call = made
    assert started.started_at_ms == START_MS + 5
    assert answered.answered_at_ms == leg.answered_at_ms == call.answered_at_ms == START_MS + 4_005
    assert (leg.dial_status, leg.cause, leg.sip_code, leg.release_side) == ("ANSWER", 16, 200, "caller")
    assert (leg.pdd_ms, leg.duration_ms, leg.asterisk_duration_ms) == (1_500, 30_000, 30_000)
    assert (call.pdd_ms, call.duration_ms, call.legs, call.reason) == (1_505, 30_000, 1, "")
    assert (call.caller_dialled, call.callee_dialled) == ('"x" <1>|y=z', "+" + CALLEE)
    assert call.last_facts == leg.facts
    signals = [output for output in outputs if isinstance(output, Signal)]
    assert [(signal.kind, signal.leg) for signal in signals] == [
        ("leg_made", 1), ("ringing", 1), ("answered", 1), ("leg_over", 1), ("call_over", 0),
    ]  # fmt: skip


def test_503_then_answered(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101, 102], CALLEE), LegPlan(final_ms=200, sip_code=503), ANSWERED)
    first, second, call = [event for event in made if isinstance(event, events.LegEnded | events.CallEnded)]
    assert (first.leg, first.dial_status, first.cause, first.sip_code) == (1, "CONGESTION", 34, 503)
    assert first.release_side == "callee"
    assert first.pdd_ms is None
    assert first.answered_at_ms is None
    assert (second.leg, second.dial_status) == (2, "ANSWER")
    assert call.legs == 2
    assert call.last_facts.vendor_peer_id == 102


def test_busy_stops_the_hunt(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101, 102], CALLEE), LegPlan(final_ms=900, sip_code=486), ANSWERED)
    assert [type(event) for event in made] == [events.LegStarted, events.LegEnded, events.CallEnded]
    assert (made[1].dial_status, made[1].cause, made[1].sip_code) == ("BUSY", 17, 486)
    assert (made[2].cause, made[2].legs, made[2].dial_status) == (17, 1, "BUSY")


@pytest.mark.parametrize(
    ("codes", "cause"),
    [((503, 503), 34), ((503, 502), 27), ((502, 404), 34), ((404, 403), 34), ((500,), 38)],
)
def test_all_fail_with_the_last_meaningful_cause(allow_routes: Allow, codes: tuple[int, ...], cause: int) -> None:
    plans = [LegPlan(final_ms=100, sip_code=code) for code in codes]
    made, _ = play(allow_routes([101] * len(codes), CALLEE), *plans)
    call = made[-1]
    assert (call.cause, call.legs, call.reason) == (cause, len(codes), "")
    assert call.answered_at_ms is None


def test_a_vendor_that_says_nothing_is_left_after_its_time(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101, 102], CALLEE, timeout_seconds=4), LegPlan(), ANSWERED)
    leg = made[1]
    assert (leg.dial_status, leg.sip_code) == ("NOANSWER", None)
    assert leg.ended_at_ms - leg.started_at_ms == 4_000
    assert made[-1].legs == 2


def test_ringing_without_end_is_left_after_its_time(allow_routes: Allow) -> None:
    plan = LegPlan(ring_ms=500, final_ms=90_000, sip_code=480)
    made, _ = play(allow_routes([101], CALLEE, timeout_seconds=10), plan)
    assert (made[1].dial_status, made[1].pdd_ms) == ("NOANSWER", 500)


def test_the_caller_cancels_while_it_rings(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101, 102], CALLEE), ANSWERED, ANSWERED, patience_ms=2_500)
    leg, call = made[1:]
    assert (leg.dial_status, leg.sip_code, leg.release_side) == ("CANCEL", None, "caller")
    assert (call.dial_status, call.release_side, call.legs) == ("CANCEL", "caller", 1)
    assert call.ended_at_ms == START_MS + 2_500


def test_the_caller_cancels_before_the_router_answers(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101], CALLEE), ANSWERED, patience_ms=100, routed_after_ms=150)
    assert len(made) == 1
    assert (made[0].legs, made[0].release_side, made[0].reason) == (0, "caller", "")
    assert made[0].facts is not None  # the hold is released by this line


def test_the_vendor_hangs_up(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101], CALLEE), ANSWERED._replace(ended_by="callee"))
    assert [event.release_side for event in made[2:]] == ["callee", "callee"]


def test_the_longest_call_is_cut_by_us(allow_routes: Allow) -> None:
    made, _ = play(allow_routes([101], CALLEE, max_ms=12_345), ANSWERED)
    assert [(event.release_side, event.asterisk_duration_ms) for event in made[2:]] == [("us", 12_345)] * 2
    assert [event.duration_ms for event in made[2:]] == [12_345] * 2


def test_no_channel_at_all(allow_routes: Allow) -> None:
    made, outputs = play(allow_routes([101, 102], CALLEE), LegPlan(has_channel=False), ANSWERED)
    assert (made[1].dial_status, made[1].cause, made[1].sip_code) == ("CHANUNAVAIL", 3, None)
    made_channels = [signal.leg for signal in outputs if isinstance(signal, Signal) and signal.kind == "leg_made"]
    assert made_channels == [2]


@pytest.mark.parametrize(
    "variables",
    [None, {}, {agi.DECISION: "ALLOW"}, {agi.DECISION: "ALLOW", agi.ROUTES: "0"}, {agi.ROUTES: "2"}, {"X": "Y"}],
)
def test_without_a_whole_decision_no_call(variables: dict[str, str] | None) -> None:
    made, _ = play(variables)
    assert len(made) == 1
    assert (made[0].reason, made[0].cause, made[0].legs) == ("ROUTER UNAVAILABLE", 34, 0)
    assert made[0].facts is None


def test_a_refusal_has_its_reason_and_cause(refuse_call: Callable[[str, int], dict[str, str]]) -> None:
    made, _ = play(refuse_call("NO BALANCE", 21))
    assert len(made) == 1
    assert (made[0].reason, made[0].cause, made[0].release_side, made[0].legs) == ("NO BALANCE", 21, "us", 0)


@pytest.mark.parametrize(("after_ms", "status"), [(3, ""), (2_000, "CANCEL"), (9_000, "ANSWER")])
def test_a_hang_up_from_outside_closes_everything(allow_routes: Allow, after_ms: int, status: str) -> None:
    made, _ = play(allow_routes([101], CALLEE), ANSWERED, hang_up_after_ms=after_ms)
    call = made[-1]
    assert (call.dial_status, call.release_side) == (status, "us")
    if status == "ANSWER":
        assert (call.cause, call.ended_at_ms) == (16, START_MS + 9_000)


def test_a_machine_that_is_over_is_not_stepped(allow_routes: Allow) -> None:
    hunt = Hunt(make_call(), lambda number, facts: ANSWERED)
    hunt.take_routes(None, START_MS)
    assert hunt.hang_up(START_MS + 1) == []
    with pytest.raises(HuntError):
        hunt.step()


moments = st.none() | st.integers(0, 40_000)
plans = st.builds(
    LegPlan,
    has_channel=st.sampled_from([True, True, True, False]),
    ring_ms=moments,
    progress_ms=moments,
    final_ms=moments,
    sip_code=st.sampled_from([200, 200, 403, 404, 408, 480, 486, 488, 499, 500, 503, 504, 580, 600, 603, 699]),
    talk_ms=st.integers(0, 100_000),
    ended_by=st.sampled_from(["caller", "callee"]),
)


@settings(max_examples=150)
@given(
    st.lists(plans, min_size=1, max_size=agi.MAX_ROUTES),
    st.integers(0, 90_000),
    st.integers(1, 60),
    st.integers(1, 120_000),
    st.integers(0, 3_000),
    st.none() | st.integers(0, 120_000),
)
def test_every_timeline_is_whole(
    allow_routes: Allow,
    legs: list[LegPlan],
    patience_ms: int,
    timeout_seconds: int,
    max_ms: int,
    routed_after_ms: int,
    hang_up_after_ms: int | None,
) -> None:
    variables = allow_routes([101] * len(legs), CALLEE, timeout_seconds=timeout_seconds, max_ms=max_ms)
    made, outputs = play(
        variables,
        *legs,
        patience_ms=patience_ms,
        routed_after_ms=routed_after_ms,
        hang_up_after_ms=hang_up_after_ms,
    )
    started = [event.leg for event in made if isinstance(event, events.LegStarted)]
    ended = [event for event in made if isinstance(event, events.LegEnded)]
    calls = [event for event in made if isinstance(event, events.CallEnded)]
    assert started == [event.leg for event in ended] == list(range(1, len(started) + 1))
    assert len(calls) == 1
    call = calls[0]
    assert made[-1] is call
    assert call.legs == len(started)
    answered = [event for event in ended if event.answered_at_ms is not None]
    assert len(answered) == (call.answered_at_ms is not None)
    if answered:
        assert answered[0] is ended[-1]
        assert answered[0].duration_ms == call.duration_ms
        assert call.duration_ms <= max_ms + 10
    assert len({event.event_id for event in made}) == len(made)
    moments_ms = [output.at_ms for output in outputs]
    assert moments_ms == sorted(moments_ms)
    assert moments_ms[0] >= START_MS
    for event in [*ended, call]:
        assert event.call_started_at_ms <= event.started_at_ms <= event.ended_at_ms
        assert event.pdd_ms is None or event.pdd_ms <= event.ended_at_ms - event.started_at_ms + 10
        assert not event.clock_disagreement
    made_legs = [output.leg for output in outputs if isinstance(output, Signal) and output.kind == "leg_made"]
    over_legs = [output.leg for output in outputs if isinstance(output, Signal) and output.kind == "leg_over"]
    assert made_legs == over_legs


NAMES = (agi.DECISION, agi.REASON, agi.REFUSE_CAUSE, agi.MAX_MS, agi.STOP_CAUSES, agi.ROUTES, "ROUTE_1_TIMEOUT")
VALUES = ("ALLOW", "REFUSE", "", "1", "2", "-1", "x", "17-19", "99999999999999", "0", "LIMIT")


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)))
def test_whatever_the_router_sets_the_call_ends_in_one_line(variables: dict[str, str]) -> None:
    hunt = Hunt(make_call(), lambda number, facts: ANSWERED)
    outputs = hunt.take_routes(variables, START_MS)
    while hunt.next_at_ms is not None:
        outputs += hunt.step()
    assert sum(isinstance(output, Line) and output.kind == "CALL_END" for output in outputs) == 1


def test_a_cut_and_the_longest_time_say_why(allow_routes: Allow) -> None:
    variables = allow_routes([101], CALLEE, max_ms=40_000) | {agi.MAX_REASON: "LONGEST CALL"}
    forever = LegPlan(ring_ms=100, final_ms=200, sip_code=200, talk_ms=10**9, ended_by="caller")
    for after_ms, cause, reason in ((10_000, 31, "BALANCE EXHAUSTED"), (10_000, 16, ""), (None, 16, "LONGEST CALL")):
        hunt = Hunt(make_call(), lambda _number, _facts: forever)
        outputs = hunt.take_routes(variables, START_MS)
        while hunt.state != "talking":
            outputs += hunt.step()
        assert hunt.variables[agi.DECISION] == "ALLOW"
        outputs += hunt.hang_up(START_MS + after_ms, cause) if after_ms else hunt.step()
        lines = [output for output in outputs if isinstance(output, Line)]
        values = next(line.values for line in reversed(lines) if line.kind == "CALL_END")
        assert (values["reason"], values["src"], values["cause"]) == (reason, "us", str(cause))
