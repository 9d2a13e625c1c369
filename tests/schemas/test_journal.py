"""The journal: golden lines make the golden events; a line that is not whole and right is never an event."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events, journal
from schemas.journal_fields import MAX_LENGTH_MS

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


@given(st.lists(st.tuples(st.sampled_from(LINES), st.integers(0, 1_000)), max_size=3), st.sampled_from(LINES))
def test_a_line_behind_others_that_were_never_finished_is_a_part_of_its_own(
    torn: list[tuple[bytes, int]], line: bytes
) -> None:
    parts = [*(one.rstrip(b"\n")[: max(20, cut)] for one, cut in torn), line]
    assert list(journal.parts_of(b"".join(parts))) == parts
    assert journal.has_parts(b"".join([*LINES, *parts, *LINES])) == bool(torn)


@given(st.lists(st.binary(max_size=30) | st.sampled_from([*LINES, b'"USER_DEFINED","'])))
def test_the_parts_of_any_bytes_are_all_of_them(pieces: list[bytes]) -> None:
    line = b"".join(pieces)
    assert b"".join(journal.parts_of(line)) == line
    assert all(part.rfind(b'"USER_DEFINED","') <= 0 for part in journal.parts_of(line))


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


_SECONDS = st.integers(-(10**11), 10**11).map(
    lambda ms: f"{'-' if ms < 0 else ''}{abs(ms) // 1000}.{abs(ms) % 1000:03d}"
)
_WALL = st.integers(-(10**12), 10**12).map(str)


@given(st.sampled_from([3, 4]), st.integers(0, 10**9), st.integers(-(10**6), 8 * 86_400_000), _WALL, _WALL, _SECONDS)
def test_whatever_the_wall_clock_did_the_bill_is_the_monotonic_difference(
    number: int, answered_ms: int, talk_ms: int, asterisk: str, pdd: str, m0: str
) -> None:
    """Never negative, never absurd, never refused for the wall clock's sake; flagged where the two disagree."""
    ended_ms = max(0, answered_ms + talk_ms)
    changes = {
        "m0": m0, "m1": f"{answered_ms // 1000}.{answered_ms % 1000:03d}", "ansms": asterisk, "pdd": pdd,
        "ring": pdd, "prog": "", "m2": f"{ended_ms // 1000}.{ended_ms % 1000:03d}",
    }  # fmt: skip
    line = LINES[number].decode()
    for key, value in changes.items():
        line = re.sub(rf"\|{key}=[^|]*", f"|{key}={value}", line)
    talked_ms = max(0, ended_ms - answered_ms)
    if talked_ms > MAX_LENGTH_MS:  # no call talks for a week: a dead letter, for a human to judge
        with pytest.raises(journal.JournalError, match="duration_ms"):
            journal.decode_line(line.encode())
        return
    event = journal.decode_line(line.encode())
    assert isinstance(event, events.LegEnded | events.CallEnded)
    assert event.duration_ms == talked_ms
    backwards = ended_ms < answered_ms  # no monotonic clock's readings
    assert event.clock_disagreement == (backwards or abs(int(asterisk) - talked_ms) > 1_000)
    in_range = 0 <= int(asterisk) <= MAX_LENGTH_MS
    assert event.asterisk_duration_ms == (int(asterisk) if in_range else None)
    assert event.pdd_ms == (int(pdd) if 0 <= int(pdd) <= MAX_LENGTH_MS else None)


def test_a_clock_set_while_it_rings_leaves_the_delay_unknown() -> None:
    line = LINES[3].replace(b"ring=1830|prog=2100", b"ring=|prog=")
    for m0, pdd_ms in ((b"8121.65", 4_000), (b"-3000.5", 11_126_150), (b"9999.0", None), (b".-50", None)):
        event = journal.decode_line(line.replace(b"m0=8121.65", b"m0=" + m0))
        assert isinstance(event, events.LegEnded)
        assert event.pdd_ms == pdd_ms
    with pytest.raises(journal.JournalError, match="ansms"):
        journal.decode_line(line.replace(b"ansms=37095", b"ansms=-"))


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


def test_text_that_is_no_text_is_a_journal_error() -> None:
    with pytest.raises(journal.JournalError):
        journal.decode_line(LINES[3].replace(b"|status=ANSWER", b"|status=\\ud800"))
