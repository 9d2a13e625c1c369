"""The journal: golden lines make the golden events; a line that is not whole and right is never an event."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events, journal

EXAMPLES = Path(journal.__file__).parent / "examples"
LINES = (EXAMPLES / "journal.csv").read_bytes().splitlines(keepends=True)


def golden(name: str) -> events.AnyEvent:
    return events.decode_event((EXAMPLES / f"{name}.json").read_bytes())


def test_golden_lines_make_the_golden_events() -> None:
    made = [journal.decode_line(line) for line in LINES]
    names = ("leg_started", "leg_ended.failed", "leg_answered", "leg_ended", "call_ended", "call_ended.refused")
    for event, name in zip(made, names, strict=True):
        if name != "leg_answered":  # its golden event shows another moment
            assert event == golden(name), name


@given(st.sampled_from(LINES), st.data())
def test_a_torn_line_is_never_an_event(line: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(line.rstrip()) - 1))
    with pytest.raises(journal.JournalError):
        journal.decode_line(line[:cut])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_journal_error(line: bytes) -> None:
    with pytest.raises(journal.JournalError):
        journal.decode_line(line)


@given(st.sampled_from(LINES), st.data())
def test_a_changed_byte_is_an_event_or_a_journal_error(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 1))
    changed = line[:at] + bytes([data.draw(st.integers(0, 255))]) + line[at + 1 :]
    try:
        event = journal.decode_line(changed)
    except journal.JournalError:
        return
    assert events.decode_event(events.encode_event(event)) == event


def _either_way(split: Callable[[bytes], tuple[str, dict[str, str]]], line: bytes) -> object:
    try:
        return split(line)
    except journal.JournalError:
        return "refused"


@given(st.sampled_from(LINES), st.data())
def test_the_short_way_reads_what_the_long_way_reads(line: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, min(len(line), start + 3)))
    put = data.draw(
        st.sampled_from([b"", b'"', b'""', b"|", b"\\n", b"\r", b"=", b"\x00", b"\xc3\xa9", b"\xff", b"0", b" "])
    )
    changed = line[:start] + put + line[end:]
    assert _either_way(journal._split, changed) == _either_way(journal.split_at_length, changed)


@pytest.mark.parametrize("line", LINES)
def test_the_usual_line_is_read_the_short_way(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = journal.decode_line(line)
    monkeypatch.setattr(journal, "split_at_length", lambda _: pytest.fail("the long way"))
    assert journal.decode_line(line) == expected


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b"ring=1830", b"ring=soon", "ring 'soon'"),
        (b"leg=2", b"leg=99", "leg 99"),
        (b"leg=2", b"leg=-2", "leg '-2'"),
        (b"m1=8125.65", b"m1=1e9", "m1 '1e9'"),
        (b"status=ANSWER", b"status=MAYBE", "dial_status"),
        (b"v=1", b"v=2", "version"),
        (b"|src=", b"|sorc=", "keys"),
        (b"facts=1;p", b"facts=9;p", "facts version"),
        (b"facts=1;p", b"facts=1;r", "payable"),
        (b"call=ast1", b"call=AST1", "call_id"),
        (b"LEG_RESULT", b"LEG_RESULTS", "LEG_RESULTS"),
    ],
)
def test_a_wrong_value_is_named(old: bytes, new: bytes, rule: str) -> None:
    assert old in LINES[3]
    with pytest.raises(journal.JournalError, match=rule):
        journal.decode_line(LINES[3].replace(old, new))


def test_a_clock_step_backwards_never_makes_a_negative_duration() -> None:
    event = journal.decode_line(
        LINES[3].replace(b"ansms=37095", b"ansms=3637095").replace(b"m2=8162.75", b"m2=8125.00")
    )
    assert isinstance(event, events.LegEnded)
    assert event.duration_ms == 0
    assert event.clock_disagreement


def test_a_200_without_ringing_has_its_delay_from_the_monotonic_readings() -> None:
    event = journal.decode_line(LINES[3].replace(b"ring=1830|prog=2100", b"ring=|prog="))
    assert isinstance(event, events.LegEnded)
    assert event.pdd_ms == 4000


def test_hostile_dialled_text_arrives_as_text() -> None:
    event = journal.decode_line(LINES[5])
    assert isinstance(event, events.CallEnded)
    assert event.caller_dialled == '"mallory" <1>|`id`'
    assert event.reason == "ROUTER UNAVAILABLE"


def test_an_unknown_key_is_never_written() -> None:
    with pytest.raises(journal.JournalError, match="not a line"):
        journal.encode_line("LEG_ANSWER", "1.0", {"call": "x", "colour": "red"})
