"""A leg's packets have the last word on its answer, its length, and whether it was answered at all."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events, journal
from schemas.clock_steps import UNKNOWN, Clock, Stretch
from schemas.journal import read_line
from schemas.journal_answer import Answer
from schemas.wire_times import MOST_APART_MS, MOST_CROSSED_MS, WireLeg, by_wire

LINES = (Path(journal.__file__).parent / "examples" / "journal.csv").read_text().splitlines()
LEG_RESULT = next(line for line in LINES if '"LEG_RESULT"' in line and "|ansms=|" not in line)
CALL_END = next(line for line in LINES if '"CALL_END"' in line and "|ansms=|" not in line)
BOTH = pytest.mark.parametrize("line", [LEG_RESULT, CALL_END], ids=["leg", "call"])
MOMENTS = st.integers(1_796_000_000_000, 1_796_000_010_000)


def read(line: str, wire: WireLeg | None, **values: str) -> events.LegEnded | events.CallEnded:
    """The event of the line with these values, and its packets."""
    for key, value in values.items():
        line = re.sub(rf"\|{key}=[^|\"]*", f"|{key}={value}", line, count=1)
    found = read_line(line.encode(), UNKNOWN, wire)
    assert found is not None
    event = found[0]
    assert isinstance(event, events.LegEnded | events.CallEnded)
    return event


@BOTH
def test_talk_is_from_200_to_bye(line: str) -> None:
    channel = read(line, None)
    assert channel.answered_at_ms is not None
    wire = WireLeg(channel.answered_at_ms - 40, channel.ended_at_ms + 25)
    event = read(line, wire)
    assert event.answered_at_ms == wire.answered_ms
    assert event.duration_ms == channel.duration_ms + 65
    assert event.asterisk_duration_ms == channel.duration_ms
    assert event.ended_at_ms == channel.ended_at_ms
    assert not event.clock_disagreement


@BOTH
def test_without_a_bye_the_channels_end_stands(line: str) -> None:
    channel = read(line, None)
    assert channel.answered_at_ms is not None
    event = read(line, WireLeg(channel.answered_at_ms + 30))
    assert event.duration_ms == channel.duration_ms - 30


@pytest.mark.parametrize("late_ms", [-300, 0, 300, 1_500, None])
def test_a_caller_who_never_acknowledges_ends_with_his_channel_or_before(late_ms: int | None) -> None:
    """Asterisk may send him no BYE when the vendor hangs up: only his own comes, some time later."""
    channel = read(CALL_END, None)
    assert channel.answered_at_ms is not None
    ended_ms = None if late_ms is None else channel.ended_at_ms + late_ms
    event = read(CALL_END, WireLeg(channel.answered_at_ms, ended_ms, is_unacknowledged=True))
    assert event.duration_ms == channel.duration_ms + min(late_ms or 0, 0)


def test_a_vendor_is_not_paid_for_what_comes_behind_our_bye() -> None:
    """He does not answer it, and Asterisk waits for that for 32 s. If a clock was set meanwhile, it cannot be told."""
    channel = read(LEG_RESULT, None, ansms="92000")
    assert channel.answered_at_ms is not None
    bye_ms = channel.ended_at_ms - 32_000
    wire = WireLeg(channel.answered_at_ms, bye_ms, is_ended_by_us=True)
    event = read(LEG_RESULT, wire, ansms="92000")
    assert (event.duration_ms, event.clock_disagreement) == (60_000, True)
    for other in (wire._replace(is_ended_by_us=False), wire._replace(answered_ms=channel.answered_at_ms + 30_000)):
        event = read(LEG_RESULT, other, ansms="92000")
        assert (event.duration_ms, event.clock_disagreement) == (92_000, True)


@BOTH
def test_packets_that_say_something_quite_different_are_not_taken(line: str) -> None:
    channel = read(line, None)
    assert channel.answered_at_ms is not None
    event = read(line, WireLeg(channel.answered_at_ms - MOST_APART_MS - 1, channel.ended_at_ms))
    assert event.duration_ms == channel.duration_ms
    assert event.clock_disagreement
    near = read(line, WireLeg(channel.answered_at_ms - MOST_APART_MS, channel.ended_at_ms))
    assert near.duration_ms == channel.duration_ms + MOST_APART_MS
    assert near.clock_disagreement  # more than a second apart: flagged


@BOTH
def test_the_answer_of_a_leg_that_lacks_its_length_is_the_packets(line: str) -> None:
    channel = read(line, None)
    assert channel.answered_at_ms is not None
    event = read(line, WireLeg(channel.answered_at_ms, channel.ended_at_ms), ansms="")
    assert event.duration_ms == channel.duration_ms


def test_a_vendors_200_that_crossed_our_cancel_is_an_answer() -> None:
    channel = read(LEG_RESULT, None, ansms="", status="CANCEL", sip="")
    assert channel.answered_at_ms is None
    wire = WireLeg(channel.ended_at_ms + 30, channel.ended_at_ms + 33)
    event = read(LEG_RESULT, wire, ansms="", status="CANCEL", sip="")
    assert isinstance(event, events.LegEnded)
    assert (event.answered_at_ms, event.duration_ms, event.ended_at_ms) == (wire.answered_ms, 3, wire.ended_ms)
    assert (event.dial_status, event.sip_code, event.clock_disagreement) == ("ANSWER", 200, True)
    unended = read(LEG_RESULT, WireLeg(wire.answered_ms), ansms="", status="CANCEL", sip="")
    assert (unended.answered_at_ms, unended.duration_ms) == (wire.answered_ms, 0)


def test_a_caller_who_was_sent_487_has_not_been_answered() -> None:
    channel = read(CALL_END, None, ansms="12", status="ANSWER", cause="127", src="caller")
    assert channel.answered_at_ms is not None
    event = read(CALL_END, WireLeg(is_refused=True), ansms="12", status="ANSWER", cause="127", src="caller")
    assert (event.answered_at_ms, event.duration_ms, event.asterisk_duration_ms) == (None, 0, None)
    assert (event.dial_status, event.cause, event.clock_disagreement) == ("CANCEL", 16, True)


def test_a_long_call_is_not_made_free_by_a_487() -> None:
    ansms = str(MOST_CROSSED_MS + 1)
    event = read(CALL_END, WireLeg(is_refused=True), ansms=ansms, status="ANSWER")
    assert event.duration_ms == MOST_CROSSED_MS + 1


@BOTH
def test_packets_that_show_no_answer_change_nothing(line: str) -> None:
    assert read(line, WireLeg()) == read(line, None)
    assert read(line, WireLeg(), ansms="", status="CANCEL") == read(line, None, ansms="", status="CANCEL")
    assert read(line, WireLeg(is_refused=True), ansms="", status="BUSY") == read(line, None, ansms="", status="BUSY")


def test_a_clock_that_was_set_between_200_and_bye_is_corrected() -> None:
    clock = Clock((Stretch(1_000_000, 0, 10_000), Stretch(1_030_000, 10_010, 20_000)))
    wire = WireLeg(1_009_000, 1_041_000)  # at 9.0 s and 11.0 s by the monotonic clock
    answer = by_wire(Answer(1_009_050, 1_950, None, doubtful=True), wire, 1_041_000, clock)
    assert (answer.duration_ms, answer.doubtful) == (2_000, True)


@given(
    st.one_of(st.none(), MOMENTS), st.one_of(st.none(), MOMENTS), st.tuples(*[st.booleans()] * 3),
    st.one_of(st.none(), MOMENTS), st.integers(0, 60_000), st.one_of(st.none(), st.integers(0, 60_000)),
)  # fmt: skip
def test_whatever_packets_say_an_answer_is_whole_and_never_far_from_the_channels(
    answered_ms: int | None,
    ended_ms: int | None,
    said: tuple[bool, bool, bool],
    at_ms: int | None,
    length_ms: int,
    read_ms: int | None,
) -> None:
    channel = Answer(at_ms, length_ms if at_ms else 0, read_ms if at_ms else None, doubtful=False)
    answer = by_wire(channel, WireLeg(answered_ms, ended_ms, *said), 1_796_000_020_000, UNKNOWN)
    assert answer.duration_ms >= 0
    assert answer.at_ms is not None or answer.duration_ms == 0
    assert answer.crossed == ((answer.at_ms is None) != (channel.at_ms is None))
    if answer.crossed:
        assert answer.doubtful
        assert max(answer.duration_ms, channel.duration_ms) <= MOST_CROSSED_MS
    elif channel.asterisk_ms is not None:
        assert answer.duration_ms - channel.duration_ms <= MOST_APART_MS
        assert said[2] or channel.duration_ms - answer.duration_ms <= MOST_APART_MS
