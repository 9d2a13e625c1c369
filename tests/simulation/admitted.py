"""Events of topics, and the calls that routers admitted: which have no end, and which of them are really lost."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from schemas.events import CallRouted, DeadLetter, EventError, decode_event
from schemas.frame import FrameError, unpack_frame
from schemas.ids import epoch_of, node_of
from schemas.topics import DEAD_LETTERS, DECISIONS
from sinks.audit.continuous.calls import NO_END, NOT_UP, Heard, OpenCall
from sinks.audit.full.calls import Open
from sinks.dead_letters.peers import peer_of
from tests.simulation.broker import PARTITIONS, Place
from tests.simulation.tables import Tables
from tests.simulation.world import World


def events_of(world: World, topic: str) -> Iterator[tuple[Place, Any]]:
    """The readable events of a topic, from its beginning."""
    for place, _, event in placed_events(world, topic):
        yield place, event


def placed_events(world: World, topic: str) -> Iterator[tuple[Place, int, Any]]:
    """The same with their messages' offsets."""
    for partition in range(PARTITIONS):
        place = Place(topic, partition)
        for offset, value in enumerate(world.broker.log[place]):
            try:
                raws = unpack_frame(value)
            except FrameError:
                continue
            for raw in raws:
                event = _decoded(bytes(raw))
                if event is not None:
                    yield place, offset, event


@lru_cache(maxsize=4096)
def _decoded(raw: bytes) -> Any:
    try:
        return decode_event(raw)
    except EventError:
        return None


def opened_of(tables: Tables, at_ms: int) -> Open:
    """As sinks.audit.continuous.open_calls reads PostgreSQL."""
    holds = [
        OpenCall(NOT_UP, call_id, hold.node, hold.admitted_ms, hold.gone_ms or hold.admitted_ms)
        for call_id, hold in tables.holds.items()
    ]
    return Open(holds, {node: Heard(*heard) for node, heard in tables.node_calls.items()}, at_ms)


def admitted_calls(world: World) -> dict[str, OpenCall]:
    """The calls that a router's decision admitted, as far as it came to the broker."""
    return {
        event.call_id: OpenCall(NO_END, event.call_id, event.node, event.routed_at_ms)
        for _, event in events_of(world, DECISIONS.name)
        if isinstance(event, CallRouted) and not event.reason
    }


def lost_calls(world: World) -> set[str]:
    """Those of them that are in no book: a fault kept all lines of a call from its journal, or it went down with its
    node before the first one. Of the latter agents close those that are held.
    """
    epochs = {node.name: node.epoch for node in world.nodes}
    vanished = {call_id for node in world.nodes for call_id in node.vanished}
    died = {call_id for call_id in admitted_calls(world) if epoch_of(call_id) < epochs[node_of(call_id)]}
    swept = {call_id for call_id, _ in world.database.tables.swept}
    unheld = {call_id for call_id in died if call_id in swept or call_id not in world.ever_held}
    booked = {leg_id.rpartition("/")[0] for leg_id in world.database.tables.references}
    return (admitted_calls(world).keys() & ((vanished - died) | unheld)) - booked


def waiting_letters(world: World) -> dict[str, DeadLetter]:
    """The letters that wait in their topic for room in the table, by origin."""
    tables = world.database.tables
    found: dict[str, DeadLetter] = {}
    for place, offset, event in placed_events(world, DEAD_LETTERS.name):
        if isinstance(event, DeadLetter) and event.origin not in tables.letters:
            first, end = tables.waiting.get((peer_of(event), place.partition), (0, 0))
            if first <= offset < end:
                found[event.origin] = event
    return found
