"""Journal lines and own events become frames; what cannot be read becomes dead letters."""

import base64
import random
from pathlib import Path

from journal_events import events_of

from agent.journal.files import Line
from agent.outbox import fill_outbox
from schemas.events import DeadLetter, LegRinging, NodeRestarted, decode_event
from schemas.frame import partition_of, unpack_frame

GOLDEN = (Path(__file__).parents[2] / "schemas" / "examples" / "journal.csv").read_bytes().splitlines(keepends=True)
CALL = "ast1-1795609861-1795609900.12"


def lines_of(raws: list[bytes]) -> list[Line]:
    offset = 0
    lines = []
    for raw in raws:
        lines.append(Line("0123456789abcdef", offset, raw))
        offset += len(raw)
    return lines


def test_the_golden_journal_arrives_event_by_event_in_the_partition_of_its_call() -> None:
    outbox = fill_outbox("ast1", lines_of(GOLDEN), [], 8, 0)
    assert (outbox.events, outbox.undecodable) == (len(GOLDEN), 0)
    arrived = []
    for message in outbox.messages:
        assert message.topic == "calls"
        for raw in unpack_frame(message.value):
            event = decode_event(raw)
            assert message.partition == partition_of(event.call_id, 8)  # type: ignore[union-attr]
            arrived.append(event)
    assert len({message.partition for message in outbox.messages}) == len(outbox.messages)
    expected = events_of(GOLDEN)
    for call_id in {event.call_id for event in expected}:
        assert [event for event in arrived if getattr(event, "call_id", "") == call_id] == [
            event for event in expected if event.call_id == call_id
        ]


def test_a_line_that_is_none_of_ours_is_one_dead_letter_and_its_neighbours_go_on() -> None:
    bad = [b"garbage\n", b"\xff\xfe\n", b"\n", GOLDEN[0].replace(b"v=2", b"v=3"), b"x" * 300_000]
    raws = [GOLDEN[0], *bad, GOLDEN[1]]
    outbox = fill_outbox("ast1", lines_of(raws), [], 8, 1_795_609_999_000)
    assert (outbox.events, outbox.undecodable) == (2, len(bad))
    letters = [
        decode_event(raw)
        for message in outbox.messages
        if message.topic == "dead-letters"
        for raw in unpack_frame(message.value)
    ]
    found = {letter.origin: base64.b64decode(letter.raw_base64) for letter in letters if isinstance(letter, DeadLetter)}
    offset = len(GOLDEN[0])
    for raw in bad:
        assert found[f"journal:ast1:Master.csv~0123456789ab:{offset}"] == raw
        offset += len(raw)
    assert all(len(message.value) < 1_000_000 for message in outbox.messages)


def test_own_events_go_to_their_topics() -> None:
    own = [
        NodeRestarted(event_id="ast1:5:node_restarted", node="ast1", epoch=5, previous_epoch=4, at_ms=1),
        LegRinging(event_id=f"{CALL}/1:leg_ringing", call_id=CALL, leg=1, ringing_at_ms=1),
    ]
    outbox = fill_outbox("ast1", [], own, 8, 0)
    assert {(message.topic, message.partition) for message in outbox.messages} == {
        ("nodes", partition_of("ast1", 8)),
        ("calls", partition_of(CALL, 8)),
    }


def test_a_batch_of_any_size_makes_frames_that_the_broker_takes() -> None:
    raws = [random.Random(1).choice(GOLDEN) for _ in range(3_000)]
    outbox = fill_outbox("ast1", lines_of(raws), [], 2, 0)
    assert sum(len(unpack_frame(message.value)) for message in outbox.messages) == 3_000
    assert max(len(message.value) for message in outbox.messages) < 500_000
