"""The live role: active calls and nodes, as Faust tables whose changelogs are the topics that the dashboards read."""

from typing import Any, Final

import faust
import msgspec

from schemas.events import NodeHeartbeat, NodeRestarted
from schemas.frame import partition_of
from schemas.live import LIVE_CALL_DECODER, NODE_STATE_DECODER, LiveCall
from schemas.topics import ACTIVE_CALLS, CALLS, DEAD_LETTERS, NODE_STATES, NODES
from streams.app import now_ms, origin_of, source
from streams.folds import live
from streams.folds.nodes import apply_heartbeat
from streams.folds.reading import read_message, split_by_type
from streams.output import DeadLetters
from streams.settings import StreamsSettings

SWEEP_MS: Final = 5_000
SCAN_MS: Final = 600_000
_encode = msgspec.json.Encoder().encode


def add_live(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the tables and agents of the live view on the app."""
    partitions = settings.kafka.partitions
    active_calls = app.Table(
        "active-calls", key_type=bytes, value_type=bytes, changelog_topic=source(app, ACTIVE_CALLS)
    )
    node_states = app.Table("node-states", key_type=bytes, value_type=bytes, changelog_topic=source(app, NODE_STATES))
    dead_letters = DeadLetters(source(app, DEAD_LETTERS), settings)
    sweeper = Sweeper(partitions)

    @app.agent(source(app, CALLS), name="live-calls")
    async def follow_calls(stream: Any) -> None:
        async for event in stream.noack().events():
            follow_message(event, active_calls, sweeper)
            event.ack()

    @app.agent(source(app, NODES), name="live-nodes")
    async def follow_nodes(stream: Any) -> None:
        async for event in stream.noack().events():
            read = split_by_type(
                event.value, origin_of(event), now_ms(), NodeHeartbeat, "an event of a node", (NodeRestarted,)
            )
            for _, heartbeat in read.found:
                key = heartbeat.node.encode()
                raw = node_states.get(key)
                before = NODE_STATE_DECODER.decode(raw) if raw else None
                after = apply_heartbeat(before, heartbeat)
                if after is not before:
                    node_states[key] = _encode(after)
            await dead_letters.send(read.dead)
            event.ack()


def follow_message(event: Any, active_calls: Any, sweeper: "Sweeper") -> None:
    """The calls of one message, in the table; and those out of it that are over."""
    partition = event.message.partition
    # What cannot be read is billing's dead letter, not the live view's.
    good = read_message(event.value, origin_of(event), now_ms()).good
    at_ms = now_ms()
    for key, call in fold_calls(active_calls, good).items():
        # A backlog is history: a call that nobody has seen and that is long over is not shown for a moment.
        if live.is_over(call, at_ms) and key not in active_calls:
            continue
        active_calls[key] = _encode(call)
        sweeper.note(partition, key, call)
    for key in sweeper.due(active_calls, partition, at_ms):
        del active_calls[key]


def fold_calls(table: Any, numbered: list[Any]) -> dict[bytes, LiveCall]:
    """The calls that a message changes, after it: each is written once, however many of its events came together."""
    changed: dict[bytes, LiveCall] = {}
    before: dict[bytes, LiveCall | None] = {}
    for place in numbered:
        event = place.event
        if isinstance(event, live.CallEvent):
            key = event.call_id.encode()
            if key not in before:
                raw = table.get(key)
                before[key] = LIVE_CALL_DECODER.decode(raw) if raw else None
            changed[key] = live.apply(changed.get(key) or before[key] or live.new_call(event.call_id), event)
    return {key: call for key, call in changed.items() if call != before[key]}


class Sweeper:
    """Which calls of a partition may leave the table, without looking at all of them each time.

    Ended calls are remembered as they are written. The whole table is read at a partition's first sweep (it may have
    been restored, or have come from another worker) and then seldom, for calls whose end never came.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._ended: dict[int, dict[bytes, int]] = {}
        self._swept_at_ms: dict[int, int] = {}
        self._scanned_at_ms: dict[int, int] = {}

    def note(self, partition: int, key: bytes, call: LiveCall) -> None:
        """This call was written to the table."""
        if call.ended_at_ms is not None:
            self._ended.setdefault(partition, {})[key] = call.ended_at_ms

    def due(self, table: Any, partition: int, at_ms: int) -> list[bytes]:
        """Keys of this partition to delete now; most of the times nothing, as it is not yet time to look."""
        if at_ms - self._swept_at_ms.get(partition, -SWEEP_MS) < SWEEP_MS:
            return []
        self._swept_at_ms[partition] = at_ms
        ended = self._ended.setdefault(partition, {})
        over = [key for key, ended_at_ms in ended.items() if at_ms - ended_at_ms > live.LINGER_MS]
        if at_ms - self._scanned_at_ms.get(partition, -SCAN_MS) >= SCAN_MS:
            self._scanned_at_ms[partition] = at_ms
            for key, raw in list(table.items()):
                if partition_of(key.decode(), self._partitions) == partition:
                    self.note(partition, key, LIVE_CALL_DECODER.decode(raw))
            over = over_calls(table, partition, self._partitions, at_ms)
        for key in over:
            ended.pop(key, None)
        return [key for key in over if key in table]


def over_calls(table: Any, partition: int, partitions: int, at_ms: int) -> list[bytes]:
    """Keys of this partition whose calls may go. (A changelog is written to the partition of the event at hand.)"""
    return [
        key
        for key, raw in list(table.items())
        if partition_of(key.decode(), partitions) == partition and live.is_over(LIVE_CALL_DECODER.decode(raw), at_ms)
    ]
