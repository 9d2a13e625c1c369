"""The journal: golden lines make the golden events; a line that is not whole and right is never an event."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import events, journal
from schemas.clock_steps import Clock, Stretch
from schemas.journal_fields import MAX_LENGTH_MS

EXAMPLES = Path(journal.__file__).parent / "examples"
LINES = (EXAMPLES / "journal.csv").read_bytes().splitlines(keepends=True)
DIALPLANS = [line for line in LINES if b'"ANSWER","' not in line]


def golden(name: str) -> events.AnyEvent:
    return events.decode_event((EXAMPLES / f"{name}.json").read_bytes())


def test_golden_lines_make_the_golden_events() -> None:
    made = [journal.decode_line(line) for line in LINES]
    names = ("leg_started", "leg_ended.failed", "leg_answered", "leg_ended", "call_ended", "call_ended.refused")
    for event, name in zip(made, names, strict=True):
        assert event is not None
        if name == "leg_answered":  # its golden event is of the line that the dialplan wrote
            event = msgspec.structs.replace(event, answered_at_ms=1_795_609_904_350)  # type: ignore[type-var]
        assert event == golden(name), name


@given(st.sampled_from(LINES), st.data())
def test_a_torn_line_is_never_an_event(line: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(line.rstrip()) - 1))
    try:
        assert journal.decode_line(line[:cut]) is None
    except journal.JournalError:
        return
    assert line not in DIALPLANS  # of Asterisk's own: it closes nothing, and is no dead letter


@pytest.mark.parametrize("line", DIALPLANS)
def test_a_line_that_lacks_its_last_field_is_torn(line: bytes) -> None:
    with pytest.raises(journal.JournalError):
        journal.decode_line(line[: line.rindex(b",")])
    with pytest.raises(journal.JournalError):
        journal.decode_line(line[: line.rindex(b",") + 1])


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
@example(b'","HANGUP","')
def test_any_bytes_are_refused_with_a_journal_error(line: bytes) -> None:
    with pytest.raises(journal.JournalError):
        journal.decode_line(line)


@pytest.mark.parametrize("line", [
    b'"USER_DEFINED","1795609904.350123","ANSWER","","ast1-1795609861-1795609900.12"\n',
    b'"USER_DEFINED","1795609904.350123","HANGUP","{""hangupcause"":16,""hangupsource"":""PJSIP/x-1""}",'
    b'"ast1-1795609861-1795609900.12/2"\n',
    b'"USER_DEFINED","1795609904.350123","ANSWER","",""\n',
    b'"USER_DEFINED","1795609904.350123","ANSWER","","ast1-1795609861-1795609900.12/99"\n',
])  # fmt: skip
def test_other_lines_of_asterisks_own_make_no_event(line: bytes) -> None:
    assert journal.decode_line(line) is None


@given(st.sampled_from(LINES), st.data())
def test_a_changed_byte_is_an_event_or_a_journal_error(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line) - 1))
    changed = line[:at] + bytes([data.draw(st.integers(0, 255))]) + line[at + 1 :]
    try:
        event = journal.decode_line(changed)
    except journal.JournalError:
        return
    assert event is None or events.decode_event(events.encode_event(event)) == event


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


@pytest.mark.parametrize("line", DIALPLANS)
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
        (b"ansms=37100", b"ansms=1e9", "ansms '1e9'"),
        (b"status=ANSWER", b"status=MAYBE", "dial_status"),
        (b"v=2", b"v=3", "version"),
        (b"v=2", b"v=1", "keys"),
        (b"v=2", b"2", "version"),
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


_WALL = st.integers(-(10**12), 10**12).map(str)


@given(st.sampled_from([3, 4]), _WALL, _WALL)
def test_whatever_the_wall_clock_did_no_line_is_refused(number: int, length: str, pdd: str) -> None:
    """Never negative, never absurd; flagged where the length is senseless."""
    line = LINES[number].decode()
    for key, value in {"ansms": length, "pdd": pdd, "ring": pdd, "prog": ""}.items():
        line = re.sub(rf"\|{key}=[^|]*", f"|{key}={value}", line)
    event = journal.decode_line(line.encode())
    assert isinstance(event, events.LegEnded | events.CallEnded)
    length_ms = int(length)
    assert event.answered_at_ms == max(0, event.ended_at_ms - length_ms)
    assert event.duration_ms == min(max(0, length_ms), MAX_LENGTH_MS)
    assert event.clock_disagreement == (length_ms < 0 or length_ms > MAX_LENGTH_MS + 1_000)
    assert event.asterisk_duration_ms == (length_ms if 0 <= length_ms <= MAX_LENGTH_MS else None)
    assert event.pdd_ms == (int(pdd) if 0 <= int(pdd) <= MAX_LENGTH_MS else None)


OF_LEG_RESULT = ("end", "ring", "prog", "ansms", "status", "sip", "src", "sid")
OF_CALL_END = (
    "end", "pdd", "ansms", "status", "src", "reason", "caller", "callee", "endpoint", "addr", "sid", "facts", "last",
)  # fmt: skip


@given(st.sampled_from([(3, OF_LEG_RESULT), (4, OF_CALL_END)]), st.data())
def test_any_fields_may_be_empty_and_any_sign_of_an_answer_is_one(
    line_and_keys: tuple[int, tuple[str, ...]], data: st.DataObject
) -> None:
    number, keys = line_and_keys
    empty = data.draw(st.sets(st.sampled_from(keys)))
    status = "" if "status" in empty else data.draw(st.sampled_from(["ANSWER", "CANCEL", "NOANSWER", "CONGESTION"]))
    line = LINES[number].decode()
    for key, value in {"status": status, **dict.fromkeys(sorted(empty - {"status"}), "")}.items():
        line = re.sub(rf"\|{key}=[^|\"]*", f"|{key}={value}", line)
    event = journal.decode_line(line.encode())
    assert isinstance(event, events.LegEnded | events.CallEnded)
    assert (event.answered_at_ms is not None) == (status == "ANSWER" or "ansms" not in empty)
    assert event.duration_ms == (0 if "ansms" in empty else 37_100)
    assert event.clock_disagreement == (status == "ANSWER" and "ansms" in empty)


@pytest.mark.parametrize(("number", "key", "delay_ms"), [(3, "ring=1830|prog=2100", 4_000), (4, "pdd=2080", 4_250)])
def test_an_answer_without_ringing_is_the_first_sign_of_life(number: int, key: str, delay_ms: int) -> None:
    line = LINES[number].decode().replace(key, re.sub("=[0-9]+", "=", key))
    event = journal.decode_line(line.encode())
    assert isinstance(event, events.LegEnded | events.CallEnded)
    assert event.pdd_ms == delay_ms
    event = journal.decode_line(line.replace("ansms=37100", "ansms=99037100").encode())  # the clock was set meanwhile
    assert isinstance(event, events.LegEnded | events.CallEnded)
    assert event.pdd_ms is None


def test_a_length_that_is_none_is_named() -> None:
    with pytest.raises(journal.JournalError, match="ansms"):
        journal.decode_line(LINES[3].replace(b"ansms=37100", b"ansms=-"))


def test_the_duration_is_corrected_for_the_steps_of_the_clock() -> None:
    """The clock was set an hour forwards, 37.1 s and an hour after the answer by the wall."""
    end_ms = 1_795_609_941_450
    clock = Clock((Stretch(end_ms - 3_700_000, 0, 80_000), Stretch(end_ms - 100_000, 80_100, 101_000)))
    event = journal.decode_line(LINES[3].replace(b"ansms=37100", b"ansms=3637100"), clock)
    assert isinstance(event, events.LegEnded)
    assert (event.duration_ms, event.asterisk_duration_ms, event.clock_disagreement) == (37_100, 3_637_100, True)


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
