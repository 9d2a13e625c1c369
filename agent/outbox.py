"""Journal lines and the agent's own events → Kafka messages, in frames. Pure.

Events of one call are in one partition, in the order of their lines. A line that is none of ours becomes a dead letter,
whole, and its neighbours go on.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.journal.files import Line
from schemas.clock_steps import UNKNOWN, Clock
from schemas.events import (
    CallEnded,
    DeadLetter,
    LegAnswered,
    LegEnded,
    LegRinging,
    LegStarted,
    NodeHeartbeat,
    NodeRestarted,
    encode_event,
)
from schemas.frame import pack_partitions
from schemas.journal import JournalError, read_line
from schemas.topics import CALLS, DEAD_LETTERS, NODES
from schemas.wire_times import WireLeg
from sinks.dead_letters.messages import dead_letter_messages

OwnEvent = LegRinging | NodeHeartbeat | NodeRestarted | LegEnded | CallEnded
CallEvent = LegStarted | LegAnswered | LegEnded | CallEnded | LegRinging


class Message(NamedTuple):
    """One Kafka message."""

    topic: str
    partition: int
    value: bytes


class Outbox(NamedTuple):
    """What a batch becomes."""

    messages: list[Message]
    events: int
    undecodable: int


def fill_outbox(
    node: str,
    lines: Iterable[Line],
    own: Sequence[OwnEvent],
    partitions: int,
    now_ms: int,
    clock: Clock = UNKNOWN,
    wire: Mapping[Line, WireLeg] | None = None,
) -> Outbox:
    """The messages of journal lines, and of the events that the agent made itself. `clock`: the node's. `wire`: the
    packets of the legs that these lines close, where they were seen.
    """
    calls: list[tuple[str, bytes]] = []
    nodes: list[tuple[str, bytes]] = []
    letters: list[DeadLetter] = []
    events = 0
    for line in lines:
        try:
            read = read_line(line.raw, clock, wire.get(line) if wire else None)
        except JournalError as error:
            letters.append(_letter(node, line, error, now_ms))
            continue
        if read is not None:
            event, raw = read
            calls.append((event.call_id, raw))
            events += 1
    for one in own:
        if isinstance(one, NodeHeartbeat | NodeRestarted):
            nodes.append((node, encode_event(one)))
        else:
            calls.append((one.call_id, encode_event(one)))
        events += 1
    messages = [Message(CALLS.name, *message) for message in pack_partitions(calls, partitions)]
    messages += [Message(NODES.name, *message) for message in pack_partitions(nodes, partitions)]
    messages += [Message(DEAD_LETTERS.name, *message) for message in dead_letter_messages(letters, partitions)]
    return Outbox(messages, events, len(letters))


def origin_of(node: str, line: Line) -> str:
    """journal:NODE:FILE:OFFSET, the same whenever the line is read and whatever its file is called then."""
    return f"journal:{node}:Master.csv~{line.head[:12]}:{line.offset}"


def _letter(node: str, line: Line, error: JournalError, now_ms: int) -> DeadLetter:
    origin = origin_of(node, line)
    return DeadLetter(
        event_id=origin,
        origin=origin,
        reason=str(error)[:1024],
        raw_base64=base64.b64encode(line.raw).decode(),
        at_ms=now_ms,
    )
