"""What AMI says, read: ringing and gone, and the fold of a status."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from agent.ami.events import CallAnswered, CallGone, Seen, channel_of, fold_status, read_event
from schemas.events import ActiveChannel, LegRinging

CALL = "sim1-1795609861-1795609900.12"
NOW_MS = 1_800_000_000_000
NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


def headers(event: str, leg: str = "", call_id: str = CALL, state: str = "5", **more: Any) -> dict[str, Any]:
    account = f"{call_id}/{leg}" if leg else call_id
    return {"event": event, "channelstate": state, "accountcode": account, **more}


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
    assert read_event("sim1", headers("Newstate", "1", state="6"), NOW_MS) is None  # CEL tells of a vendor's answer
    assert read_event("sim1", headers("Newchannel", "1"), NOW_MS) is None
    assert read_event("ast1", headers("Newstate", "1"), NOW_MS) is None  # another node's
    assert read_event("sim1", {"event": "Newstate", "channelstate": "5"}, NOW_MS) is None


def test_only_the_customers_hangup_ends_a_call() -> None:
    assert read_event("sim1", headers("Hangup"), NOW_MS) == CallGone(CALL)
    assert read_event("sim1", headers("Hangup", "1"), NOW_MS) is None


def test_a_channel_is_named_by_its_account_code_and_by_nothing_else_that_it_may_show() -> None:
    variables = {"chanvariable": [f"CALL_ID={CALL}", "LEG_N=3"]}
    assert channel_of("sim1", {"accountcode": CALL, **variables}) == (CALL, 0)
    assert channel_of("sim1", {"accountcode": f"{CALL}/2", **variables}) == (CALL, 2)
    for no_leg in ("", "0", "33", "-1", "²", "1/1", " 1"):
        assert channel_of("sim1", {"accountcode": f"{CALL}/{no_leg}", **variables}) is None
    for nobodys in ("x", "/1", f"{CALL}\n", f" {CALL}", [CALL, CALL], "sim2-1795609861-1795609900.12"):
        assert channel_of("sim1", {"accountcode": nobodys, **variables}) is None


def test_an_asterisk_that_goes_on_with_older_files_names_its_channels_by_variables() -> None:
    both = {"variable": [f"CALL_ID={CALL}", "LEG_N=(null)"], "chanvariable": [f"CALL_ID={CALL}", "LEG_N="]}
    assert channel_of("sim1", {"accountcode": "", **both}) == (CALL, 0)
    assert channel_of("sim1", {"chanvariable": f"CALL_ID={CALL}"}) == (CALL, 0)
    assert channel_of("sim1", {"chanvariable": [f"CALL_ID={CALL}", "LEG_N=3"]}) == (CALL, 3)


def fold(
    channels: list[dict[str, Any]], last: Seen | None, monotonic_ms: int, answers: Mapping[str, int] = NOBODY
) -> Seen:
    return fold_status("sim1", channels, last, answers, monotonic_ms)


def answered(seconds: int, **more: Any) -> dict[str, Any]:
    return {"event": "Status", "channelstate": "6", "seconds": str(seconds), "accountcode": CALL, **more}


def test_the_customers_answer_is_the_moment_of_its_event() -> None:
    event = headers("Newstate", state="6", timestamp="1795609904.350999")
    assert read_event("sim1", event, NOW_MS) == CallAnswered(CALL, 1_795_609_904_350)
    assert read_event("sim1", headers("Newstate", state="6"), NOW_MS) == CallAnswered(CALL, NOW_MS)


def test_a_status_becomes_calls_with_their_talk() -> None:
    ringing = [headers("Status", "", state="4", seconds="7"), headers("Status", "1", state="5", seconds="6")]
    seen = fold(ringing, None, 100_000)
    assert seen.calls == [ActiveChannel(call_id=CALL, leg=1, answered=False, seconds=0)]
    assert seen.talk_seconds == {}
    up = [headers("Status", "2", state="6", seconds="3"), answered(12, channel="PJSIP/x-1")]
    seen = fold(up, seen, 105_000, {CALL: 101_600})
    assert seen.calls == [ActiveChannel(call_id=CALL, leg=2, answered=True, seconds=3)]
    assert (seen.names, seen.answered_at_ms) == ({CALL: "PJSIP/x-1"}, {CALL: 101_600})
    later = fold([answered(30)], seen, 123_000, {CALL: 999_999})  # the first word counts
    assert later.talk_seconds == {CALL: 21}
    assert fold([], later, 124_000).calls == []


def test_an_agent_that_begins_in_mid_call_takes_no_talk_too_short() -> None:
    assert fold([answered(30)], None, 5_000).talk_seconds == {CALL: 31}  # not known: its whole age
    ringing = fold([headers("Status", "", state="4", seconds="7")], None, 50_000)
    assert fold([answered(9)], ringing, 55_000).talk_seconds == {CALL: 5}  # no more than since it was seen ringing


def test_a_call_is_asked_for_its_facts_and_only_an_allowed_one_has_any() -> None:
    for decision, facts in (("ALLOW", {CALL: "1;r;2"}), ("REFUSE", {}), ("(null)", {})):
        ringing = headers("Status", "", state="4", seconds="1")
        ringing["variable"] = [f"DECISION={decision}", "CALL_FACTS=1;r;2"]
        assert fold([ringing], None, 1).facts == facts


TEXTS = st.text(max_size=30)
HOSTILE = st.dictionaries(
    st.sampled_from(["event", "channelstate", "chanvariable", "variable", "accountcode", "seconds", "timestamp"]),
    st.one_of(
        TEXTS, st.lists(TEXTS, max_size=3), st.just(f"CALL_ID={CALL}"), st.just(CALL), TEXTS.map(f"{CALL}/{{}}".format),
        st.tuples(st.just(f"CALL_ID={CALL}"), TEXTS.map("LEG_N={}".format)).map(list),
        st.sampled_from(["Newstate", "Hangup", "Status", "5", "6"]),
    ),
)  # fmt: skip


@given(HOSTILE)
def test_no_headers_break_it(one: dict[str, Any]) -> None:
    read_event("sim1", one, NOW_MS)
    fold_status("sim1", [one, one], None, {}, 1)


@given(st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), max_size=12), st.booleans())
def test_talk_is_never_taken_too_short(steps: list[tuple[int, bool]], is_heard: bool) -> None:
    """Slow oracle: time goes on by each step; from the first `True` on the call is answered."""
    now_ms, answered_ms, last = 0, None, None
    for more_ms, answer in steps:
        now_ms += more_ms
        if answer and answered_ms is None:
            answered_ms = now_ms  # answered just now, at the latest
        one = headers("Status", "", state="4", seconds=str(now_ms // 1000))
        if answered_ms is not None:
            one = answered(now_ms // 1000)
        last = fold([one], last, now_ms, {CALL: answered_ms} if is_heard and answered_ms is not None else {})
        if answered_ms is not None:
            assert last.answered_at_ms[CALL] <= answered_ms
            assert not is_heard or last.answered_at_ms[CALL] == answered_ms
