"""The live role: active calls and nodes, as Faust tables whose changelogs are the topics that the dashboards read."""

import time
from typing import Any, Final

import faust
import msgspec

from schemas import events
from schemas.frame import partition_of
from schemas.live import LIVE_CALL_DECODER, NODE_STATE_DECODER, LiveCall
from schemas.topics import ACTIVE_CALLS, CALLS, NODE_STATES, NODES
from streams.app import source
from streams.billing import now_ms, origin_of
from streams.folds import live
from streams.folds.nodes import apply_heartbeat
from streams.folds.reading import read_message
from streams.settings import StreamsSettings

SWEEP_SECONDS: Final = 5.0
_encode = msgspec.json.Encoder().encode


def add_live(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the tables and agents of the live view on the app."""
    partitions = settings.kafka.partitions
    active_calls = app.Table(
        "active-calls", key_type=bytes, value_type=bytes, changelog_topic=source(app, ACTIVE_CALLS)
    )
    node_states = app.Table("node-states", key_type=bytes, value_type=bytes, changelog_topic=source(app, NODE_STATES))
    swept_at: dict[int, float] = {}

    @app.agent(source(app, CALLS), name="live-calls")
    async def follow_calls(stream: Any) -> None:
        async for event in stream.noack().events():
            # What cannot be read is billing's dead letter, not the live view's.
            for key, call in fold_calls(
                active_calls, read_message(event.value, origin_of(event), now_ms()).good
            ).items():
                active_calls[key] = _encode(call)
            partition = event.message.partition
            if time.monotonic() - swept_at.get(partition, 0.0) > SWEEP_SECONDS:
                swept_at[partition] = time.monotonic()
                for key in over_calls(active_calls, partition, partitions, now_ms()):
                    del active_calls[key]
            event.ack()

    @app.agent(source(app, NODES), name="live-nodes")
    async def follow_nodes(stream: Any) -> None:
        async for event in stream.noack().events():
            for place in read_message(event.value, origin_of(event), now_ms()).good:
                if isinstance(place.event, events.NodeHeartbeat):
                    key = place.event.node.encode()
                    raw = node_states.get(key)
                    before = NODE_STATE_DECODER.decode(raw) if raw else None
                    after = apply_heartbeat(before, place.event)
                    if after is not before:
                        node_states[key] = _encode(after)
            event.ack()


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


def over_calls(table: Any, partition: int, partitions: int, at_ms: int) -> list[bytes]:
    """Keys of this partition whose calls may go. (A changelog is written to the partition of the event at hand.)"""
    return [
        key
        for key, raw in list(table.items())
        if partition_of(key.decode(), partitions) == partition and live.is_over(LIVE_CALL_DECODER.decode(raw), at_ms)
    ]
