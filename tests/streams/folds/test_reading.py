"""Messages of any bytes: what is an event is read, what is none is a dead letter with its place, and nothing else."""

import base64
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import decode_event, encode_event
from streams.folds.reading import MAX_RAW_BYTES, Origin, dead_letter, leg_told, read_message

EXAMPLES = Path(events.__file__).parent / "examples"
GOOD = [path.read_bytes().strip() for path in sorted(EXAMPLES.glob("*.json"))]
ORIGIN = Origin("calls", 3, 1_234)
NOW_MS = 1_795_609_900_000
_plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
_json = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def broken(example: bytes, change: str) -> bytes:
    """An event made unreadable, and still JSON."""
    value: dict[str, Any] = json.loads(example)
    if change == "version":
        value["v"] = 2
    elif change == "type":
        value["type"] = "leg_exploded"
    elif change == "surprise":
        value["surprise"] = 1
    else:
        del value["event_id"]
    return json.dumps(value).encode()


_good = st.sampled_from(GOOD)
_bad = st.builds(broken, _good, st.sampled_from(["version", "type", "surprise", "missing"])) | _json.map(
    lambda value: json.dumps(value).encode()
)


@given(st.lists(st.tuples(st.just(True), _good) | st.tuples(st.just(False), _bad), max_size=8))
def test_each_event_of_a_frame_stands_by_itself(items: list[tuple[bool, bytes]]) -> None:
    message = b"[1,[" + b",".join(raw for _, raw in items) + b"]]"
    read = read_message(message, ORIGIN, NOW_MS)
    wanted = {f"calls/3/1234/{index}": (is_event, raw) for index, (is_event, raw) in enumerate(items)}
    assert {place.origin: (True, bytes(place.raw)) for place in read.good} == {
        origin: item for origin, item in wanted.items() if item[0]
    }
    assert {letter.origin: (False, base64.b64decode(letter.raw_base64)) for letter in read.dead} == {
        origin: item for origin, item in wanted.items() if not item[0]
    }
    for place in read.good:
        assert place.event == decode_event(place.raw)
    for letter in read.dead:
        assert letter.reason
        assert letter.at_ms == NOW_MS
        assert decode_event(encode_event(letter)) == letter


@given(st.none() | st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_at_all_raise_or_vanish(message: bytes | None) -> None:
    read = read_message(message, ORIGIN, NOW_MS)
    assert not read.good
    if message is not None and message.replace(b" ", b"") == b"[1,[]]":
        assert not read.dead
        return
    (letter,) = read.dead
    assert letter.origin == "calls/3/1234/frame"
    assert base64.b64decode(letter.raw_base64) == (message or b"")
    assert decode_event(encode_event(letter)) == letter


def test_the_reason_says_what_is_wrong() -> None:
    frame = b"[1,[" + broken(GOOD[0], "version") + b"]]"
    assert "$.v" in read_message(frame, ORIGIN, NOW_MS).dead[0].reason
    assert "frame version 2" in read_message(b"[2,[]]", ORIGIN, NOW_MS).dead[0].reason
    assert "not a frame" in read_message(None, ORIGIN, NOW_MS).dead[0].reason


def test_what_is_too_long_is_cut_and_says_so() -> None:
    letter = dead_letter("o" * 500, b"x" * (MAX_RAW_BYTES + 1), "r" * 2_000, NOW_MS, "a-leg")
    assert base64.b64decode(letter.raw_base64) == b"x" * MAX_RAW_BYTES
    assert letter.reason.startswith(f"[first {MAX_RAW_BYTES} of {MAX_RAW_BYTES + 1} bytes kept]")
    assert letter.leg_id == "a-leg"
    assert decode_event(encode_event(letter)) == letter


def test_the_leg_of_an_unreadable_event_is_told_where_it_can_be() -> None:
    for path in sorted(EXAMPLES.glob("*.json")):
        event: Any = decode_event(path.read_bytes())
        closed = isinstance(event, events.LegEnded | events.CallEnded | events.RatedLeg)
        wanted = "" if not closed else getattr(event, "leg_id", "") or f"{event.call_id}/{getattr(event, 'leg', 0)}"
        assert leg_told(broken(path.read_bytes(), "version")) == wanted
        (letter,) = read_message(b"[1,[" + broken(path.read_bytes(), "version") + b"]]", ORIGIN, NOW_MS).dead
        assert letter.leg_id == wanted
    for raw in (
        b"7",
        b"\xff",
        b"{}",
        b'{"type":"leg_ended","call_id":"x","leg":1}',
        b'{"type":"rated_leg","leg_id":"/"}',
    ):
        assert leg_told(raw) == ""
    assert leg_told(b'{"type":"leg_ended","call_id":"ast1-1795609861-1795609900.1","leg":99}') == ""


@given(st.binary(max_size=100) | _json.map(lambda value: json.dumps(value).encode()))
def test_telling_the_leg_never_raises(raw: bytes) -> None:
    assert isinstance(leg_told(raw), str)
