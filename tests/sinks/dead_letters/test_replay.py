"""Where a dead letter goes when it is sent again: to the door that it came by, and to the partition of its key."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas import events
from schemas.events import CallEnded, CallRouted, LegEnded, RatedLeg, decode_event, encode_event
from schemas.frame import partition_of, unpack_frame
from sinks.dead_letters.replay import Resent, plan_replay
from sinks.dead_letters.store import KeptLetter, LetterError, source_of

EXAMPLES = Path(events.__file__).parent / "examples"
LINES = (EXAMPLES / "journal.csv").read_bytes().splitlines(keepends=True)


def letter(origin: str, raw: bytes, reason: str = "refused") -> KeptLetter:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    return KeptLetter(origin, source_of(origin), reason, raw, "", at, 0, "open", 0, "", "", "", None)


def example(name: str) -> bytes:
    return encode_event(decode_event((EXAMPLES / f"{name}.json").read_bytes()))


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("calls", "leg_ended"), ("calls", "call_ended"), ("rated-legs", "rated_leg"), ("decisions", "call_routed"),
        ("nodes", "node_heartbeat"),
    ],
)  # fmt: skip
def test_an_event_goes_to_its_topic_byte_for_byte_in_the_partition_of_its_key(topic: str, name: str) -> None:
    raw = example(name)
    event: Any = decode_event(raw)
    key = {RatedLeg: "account_id", LegEnded: "call_id", CallEnded: "call_id", CallRouted: "call_id"}.get(type(event))
    wanted = partition_of(str(getattr(event, key or "node")), 8)
    sent = plan_replay(letter(f"{topic}/7/1234/5", raw), 8)
    assert (sent.topic, sent.partition) == (topic, wanted)
    assert [bytes(one) for one in unpack_frame(sent.value)] == [raw]


def test_an_event_that_nobody_here_can_read_goes_where_it_was() -> None:
    raw = json.dumps({**json.loads(example("leg_ended")), "v": 2}).encode()
    sent = plan_replay(letter("calls/3/17/0", raw), 8)
    assert (sent.topic, sent.partition) == ("calls", 3)
    assert [bytes(one) for one in unpack_frame(sent.value)] == [raw]


def test_a_message_that_was_no_frame_goes_back_as_it_is() -> None:
    assert plan_replay(letter("rated-legs/6/9/frame", b"\xff[1"), 8) == Resent("rated-legs", 6, b"\xff[1")


def test_a_line_of_the_journal_becomes_its_event_on_calls() -> None:
    for line in LINES:
        sent = plan_replay(letter("journal:ast1:Master.csv~0:17", line), 8)
        (event,) = (decode_event(raw) for raw in unpack_frame(sent.value))
        assert isinstance(event, events.LegStarted | events.LegAnswered | LegEnded | CallEnded)
        assert (sent.topic, sent.partition) == ("calls", partition_of(event.call_id, 8))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (letter("journal:ast1:Master.csv~0:17", b"garbage\n"), "still no line of the journal"),
        (letter("calls/1/2/3", b"{}", "[first 262144 of 300000 bytes kept] too long"), "only its beginning was kept"),
        (letter("calls/9/2/3", b"{}"), "has no partition 9"),
        (letter("dead-letters/1/2/3", b"{}"), "is from none of calls, decisions, nodes, rated-legs"),
        (letter("calls", b"{}"), "cannot be sent again"),
        (letter("calls/x/2/3", b"{}"), "cannot be sent again"),
    ],
)
def test_what_cannot_be_sent_is_said(one: KeptLetter, said: str) -> None:
    with pytest.raises(LetterError, match=said) as caught:
        plan_replay(one, 8)
    assert str(caught.value).startswith(one.origin)
