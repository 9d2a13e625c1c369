"""Closing lines of version 1 with readings missing: every one is read, and a leg that shows any sign of an answer is
answered. Those of version 2: test_journal.py, test_clock_steps.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events, journal

EXAMPLES = Path(journal.__file__).parent / "examples"
LINES = (EXAMPLES / "journal.v1.csv").read_bytes().splitlines(keepends=True)
LEG_RESULT, CALL_END = LINES[3].decode(), LINES[4].decode()
EVIDENCE = ("answer", "m1", "ansms")
# What the dialplan may leave empty when it is interrupted, or when nothing of the kind has happened.
OF_LEG_RESULT = ("answer", "end", "m0", "m1", "m2", "ring", "prog", "ansms", "status", "sip", "src")
OF_CALL_END = (
    "answer", "end", "m1", "m2", "pdd", "ansms", "status", "src", "reason", "caller", "callee", "endpoint", "addr",
    "facts", "last",
)  # fmt: skip
STATUSES = ("ANSWER", "CANCEL", "NOANSWER", "CONGESTION", "CHANUNAVAIL", "BUSY", "")


def read(line: str, values: Mapping[str, str]) -> events.LegEnded | events.CallEnded:
    """The line with these values."""
    for key, value in values.items():
        line = re.sub(rf"\|{key}=[^|\"]*", f"|{key}={value}", line, count=1)
    event = journal.decode_line(line.encode())
    assert isinstance(event, events.LegEnded | events.CallEnded)
    return event


@given(st.sampled_from([(LEG_RESULT, OF_LEG_RESULT), (CALL_END, OF_CALL_END)]), st.data())
def test_any_fields_may_be_empty_and_any_sign_of_an_answer_is_one(
    line_and_keys: tuple[str, tuple[str, ...]], data: st.DataObject
) -> None:
    line, keys = line_and_keys
    empty = data.draw(st.sets(st.sampled_from(keys)))
    values = {"status": data.draw(st.sampled_from(STATUSES)), **dict.fromkeys(sorted(empty), "")}
    event = read(line, values)
    answered = values["status"] == "ANSWER" or any(key not in empty for key in EVIDENCE)
    assert (event.answered_at_ms is not None) == answered
    assert 0 <= event.duration_ms <= 37_101  # by the line's own time, where its end is missing
    assert answered or event.duration_ms == 0
    whole = not empty & {"answer", "m1", "m2"}
    assert event.clock_disagreement == (answered and not whole)
    if event.answered_at_ms is not None and "answer" in empty:
        assert event.answered_at_ms == event.ended_at_ms - event.duration_ms


@given(st.sets(st.sampled_from(["answer", "m1", "m2", "ansms"])), st.sampled_from(STATUSES), st.integers(0, 3_000))
def test_both_lines_of_a_call_agree(empty: set[str], status: str, later_ms: int) -> None:
    """Where the answer's time is missing, the end of the call may be later than that of its leg."""
    values = {"status": status, **dict.fromkeys(sorted(empty), "")}
    ends = {"end": f"{1_795_609_941_450 + later_ms}"[:-3] + ".450"} if "answer" in empty else {}
    leg, call = read(LEG_RESULT, values), read(CALL_END, values | ends)
    assert (leg.answered_at_ms is None) == (call.answered_at_ms is None)
    assert leg.duration_ms == call.duration_ms
    assert leg.clock_disagreement == call.clock_disagreement


@pytest.mark.parametrize("line", [LEG_RESULT, CALL_END])
@pytest.mark.parametrize(
    ("values", "answered_ms", "duration_ms"),
    [
        ({"answer": "", "ansms": ""}, 1_795_609_904_350, 37_100),  # the routine was interrupted behind m1
        ({"answer": "", "m2": "", "ansms": ""}, 1_795_609_941_450, 0),
        ({"answer": "", "m1": "", "m2": ""}, 1_795_609_904_355, 37_095),
        ({"m1": "", "m2": ""}, 1_795_609_904_350, 37_095),
        ({"m1": "", "m2": "", "ansms": ""}, 1_795_609_904_350, 37_100),
        ({"m2": ""}, 1_795_609_904_350, 37_095),
        ({"m2": "", "ansms": "-3600000"}, 1_795_609_904_350, 37_100),  # the clock was set: by the next reading there is
        ({"m1": "", "ansms": "", "answer": "1795609999.000"}, 1_795_609_999_000, 0),
        ({"answer": "", "m1": "", "m2": "", "ansms": ""}, 1_795_609_941_450, 0),  # status ANSWER and nothing else
        ({"m1": "1795609904.350", "m2": "1795609941.450"}, 1_795_609_904_350, 37_100),  # the wall clock's
        ({"m1": "50.00", "m2": "40.00", "ansms": ""}, 1_795_609_904_350, 0),
    ],
)
def test_the_duration_is_that_of_the_best_reading(
    line: str, values: dict[str, str], answered_ms: int, duration_ms: int
) -> None:
    event = read(line, values)
    assert (event.answered_at_ms, event.duration_ms) == (answered_ms, duration_ms)
    assert event.clock_disagreement


def test_a_line_without_its_end_has_asterisks_own_time() -> None:
    assert read(CALL_END, {"end": ""}).ended_at_ms == 1_795_609_941_451
    with pytest.raises(journal.JournalError, match="end"):
        journal.decode_line(CALL_END.replace("end=1795609941.450", "end=").replace("1795609941.451022", "").encode())


def test_a_200_without_ringing_has_its_delay_from_the_answer() -> None:
    assert read(LEG_RESULT, {"ring": "", "prog": "", "m0": ""}).pdd_ms == 4_000


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_golden_lines_of_version_1_make_the_golden_events(number: int) -> None:
    """But for what they did not have, and Asterisk's own length, which was another clock's then."""
    names = {1: "leg_ended.failed", 3: "leg_ended", 4: "call_ended", 5: "call_ended.refused"}
    golden = events.decode_event((EXAMPLES / f"{names[number]}.json").read_bytes())
    assert isinstance(golden, events.LegEnded | events.CallEnded)
    length_ms = None if golden.asterisk_duration_ms is None else 37_095
    assert journal.decode_line(LINES[number]) == msgspec.structs.replace(
        golden, sip_call_id="", asterisk_duration_ms=length_ms
    )
