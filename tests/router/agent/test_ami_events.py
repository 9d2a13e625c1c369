"""What AMI says, read: ringing and gone, and the fold of a status."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.agent.ami_events import CallGone, channel_of, fold_status, read_event
from schemas.events import ActiveChannel, LegRinging

CALL = "sim1-1795609861-1795609900.12"
NOW_MS = 1_800_000_000_000


def headers(event: str, leg: str = "", call_id: str = CALL, state: str = "5", **more: Any) -> dict[str, Any]:
    variables = [f"CALL_ID={call_id}", f"LEG_N={leg}"]
    return {"event": event, "channelstate": state, "chanvariable": variables, **more}


def test_a_vendors_channel_rings() -> None:
    event = read_event("sim1", headers("Newstate", "2", timestamp="1795609902.180999"), NOW_MS)
    assert event == LegRinging(event_id=f"{CALL}/2:leg_ringing", call_id=CALL, leg=2, ringing_at_ms=1_795_609_902_180)


def test_without_a_timestamp_our_clock_stands_for_it() -> None:
    for stamp in ("", "soon", "1795609902", "1795609902.", "-795609902.18"):
        event = read_event("sim1", headers("Newstate", "2", timestamp=stamp), NOW_MS)
        assert isinstance(event, LegRinging)
        assert event.ringing_at_ms == NOW_MS


def test_what_is_no_vendors_ringing_is_nothing() -> None:
    assert read_event("sim1", headers("Newstate"), NOW_MS) is None  # the customer's channel
    assert read_event("sim1", headers("Newstate", "1", state="6"), NOW_MS) is None
    assert read_event("sim1", headers("Newchannel", "1"), NOW_MS) is None
    assert read_event("ast1", headers("Newstate", "1"), NOW_MS) is None  # another node's
    assert read_event("sim1", {"event": "Newstate", "channelstate": "5"}, NOW_MS) is None


def test_only_the_customers_hangup_ends_a_call() -> None:
    assert read_event("sim1", headers("Hangup"), NOW_MS) == CallGone(CALL)
    assert read_event("sim1", headers("Hangup", "1"), NOW_MS) is None


def test_a_variable_that_is_not_set_is_written_as_null() -> None:
    both = {"variable": [f"CALL_ID={CALL}", "LEG_N=(null)"], "chanvariable": [f"CALL_ID={CALL}", "LEG_N="]}
    assert channel_of("sim1", both) == (CALL, 0)
    assert channel_of("sim1", {"variable": f"CALL_ID={CALL}"}) == (CALL, 0)
    assert channel_of("sim1", {"variable": [f"CALL_ID={CALL}", "LEG_N=3"]}) == (CALL, 3)


def test_a_status_becomes_calls_with_their_talk() -> None:
    ringing = [headers("Status", "", state="4", seconds="7"), headers("Status", "1", state="5", seconds="6")]
    seen = fold_status("sim1", ringing, {})
    assert seen.calls == [ActiveChannel(call_id=CALL, leg=1, answered=False, seconds=0)]
    assert seen.talk_seconds == {}
    up = [headers("Status", "2", state="6", seconds="3"), headers("Status", "", state="6", seconds="12")]
    seen = fold_status("sim1", up, seen.before_answer)
    assert seen.calls == [ActiveChannel(call_id=CALL, leg=2, answered=True, seconds=5)]
    assert seen.talk_seconds == {CALL: 5}
    later = fold_status("sim1", [headers("Status", "", state="6", seconds="30")], seen.before_answer)
    assert later.talk_seconds == {CALL: 23}
    assert fold_status("sim1", [], later.before_answer).before_answer == {}


def test_an_agent_that_begins_in_mid_call_takes_the_whole_age_for_talk() -> None:
    seen = fold_status("sim1", [headers("Status", "", state="6", seconds="30")], {})
    assert seen.talk_seconds == {CALL: 30}


TEXTS = st.text(max_size=30)
HOSTILE = st.dictionaries(
    st.sampled_from(["event", "channelstate", "chanvariable", "variable", "seconds", "timestamp"]),
    st.one_of(
        TEXTS, st.lists(TEXTS, max_size=3), st.just(f"CALL_ID={CALL}"),
        st.tuples(st.just(f"CALL_ID={CALL}"), TEXTS.map("LEG_N={}".format)).map(list),
        st.sampled_from(["Newstate", "Hangup", "Status", "5", "6"]),
    ),
)  # fmt: skip


@given(HOSTILE)
def test_no_headers_break_it(one: dict[str, Any]) -> None:
    read_event("sim1", one, NOW_MS)
    fold_status("sim1", [one, one], {})


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=12))
def test_talk_is_never_taken_too_short(steps: list[tuple[int, bool]]) -> None:
    """Slow oracle: a call's age goes up by each step; from the first `True` on it is answered."""
    age, answered_age, before = 0, None, {}
    for more, answer in steps:
        age += more
        if answer and answered_age is None:
            answered_age = age  # answered just now, at the latest
        up = answered_age is not None
        seen = fold_status("sim1", [headers("Status", "", state="6" if up else "4", seconds=str(age))], before)
        before = seen.before_answer
        if answered_age is not None:
            assert seen.talk_seconds[CALL] >= age - answered_age
