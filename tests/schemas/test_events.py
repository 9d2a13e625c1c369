"""The events: golden examples are read and written back unchanged; whatever is not exactly an event is refused."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from schemas import events
from schemas.frame import pack_frames

EXAMPLES = Path(events.__file__).parent / "examples"
GOLDEN = sorted(EXAMPLES.glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_example_survives_the_round_trip(path: Path) -> None:
    event = events.decode_event(path.read_bytes())
    assert json.loads(events.encode_event(event)) == json.loads(path.read_text())
    assert path.stem.split(".")[0] == event.__struct_config__.tag


def test_every_type_has_a_golden_example() -> None:
    tags = {kind.__struct_config__.tag for kind in get_args(events.AnyEvent)}
    assert tags == {path.stem.split(".")[0] for path in GOLDEN}


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return found


def example(name: str, **changes: object) -> bytes:
    return json.dumps({**golden(name), **changes}).encode()


def with_facts(name: str, field: str = "facts", **changes: object) -> bytes:
    return example(name, **{field: {**golden(name)[field], **changes}})


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (example("leg_ended", v=2), "v"),
        (example("leg_ended", type="leg_exploded"), "leg_exploded"),
        (example("leg_ended", duration_ms=-1), "duration_ms"),
        (example("leg_ended", duration_ms=10**12), "duration_ms"),
        (example("leg_ended", call_id="x"), "call_id"),
        (example("leg_ended", surprise=1), "surprise"),
        (example("leg_ended.failed", duration_ms=5), "not answered"),
        (example("call_ended", facts=json.loads((EXAMPLES / "leg_ended.json").read_text())["facts"]), "receivable"),
        (example("rated_leg", amount_micros=-5), "amount_micros"),
        (example("rated_leg", amount_micros=1.5), "amount_micros"),
        (example("rated_leg", account_id=2**31), "account_id"),
        (example("rated_leg", billed_seconds=2**31), "billed_seconds"),
        (example("rated_leg", leg_id="nonsense"), "leg_id"),
        (example("rated_leg", leg_id="ast1-1795609861-1795609900.12/1"), "leg_id"),
        (example("rated_leg", side="receivable"), "side"),
        (example("rated_leg", currency="us$"), "currency"),
        (example("rated_leg", currency="ÄÖÜ"), "currency"),
        (with_facts("leg_ended", callee="44x"), "callee"),
        (with_facts("leg_ended", callee="٣٤"), "callee"),
        (with_facts("leg_ended", callee="1" * 21), "callee"),
        (with_facts("leg_started", caller="+44"), "caller"),
        (with_facts("leg_started", "call_facts", currency="usd"), "currency"),
        (with_facts("leg_started", "call_facts", side="payable"), "call_facts.side"),
        (with_facts("call_ended", "last_facts", code=" "), "code"),
        (with_facts("call_ended", "last_facts", side="receivable"), "last_facts.side"),
        (example("leg_started", call_id="ast1-1-2.3"), "call_id"),
        (example("leg_ringing", call_id="ast1-1795609861-1795609900.12 "), "call_id"),
        (example("leg_answered", call_id="AST1-1795609861-1795609900.12"), "call_id"),
        (example("call_routed", call_id="x"), "call_id"),
        (example("call_routed", callee="4a"), "callee"),
        (example("call_routed", currency="$$$"), "currency"),
        (example("call_routed", candidates=[{**golden("call_routed")["candidates"][0], "code": "x"}]), "candidates"),
        (example("call_routed", candidates=[{**golden("call_routed")["candidates"][0], "currency": "e"}]), "currency"),
        (example("node_heartbeat", calls=[{**golden("node_heartbeat")["calls"][0], "call_id": "1"}]), "call_id"),
        (b"\xff\x00", "JSON"),
        (b"{}", "type"),
        (b"[" * 100_000, "array"),
        (b"", "truncated"),
    ],
)
def test_what_is_no_event_is_refused_with_its_field(raw: bytes, rule: str) -> None:
    with pytest.raises(events.EventError, match=rule):
        events.decode_event(raw)


def test_a_rated_leg_checks_the_leg_inside_it() -> None:
    rated = json.loads((EXAMPLES / "rated_leg.json").read_text())
    rated["ended"]["answered_at_ms"] = None
    with pytest.raises(events.EventError, match="not answered"):
        events.decode_event(msgspec.json.encode(rated))


def test_what_cannot_be_read_is_passed_over_and_its_neighbours_are_not() -> None:
    good = example("leg_ringing")
    (frame,) = pack_frames([good, example("leg_ringing", v=2), b'"x"', good])
    assert list(events.readable_events(frame)) == [events.decode_event(good)] * 2
    for nothing in (None, b"", good, frame[:-1]):
        assert list(events.readable_events(nothing)) == []
