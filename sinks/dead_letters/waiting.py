"""Dead letters that have no room in their peer's limit: they wait in their topic, and come to the table when there is.

A row for each peer and partition says between which offsets: so what waits is bounded by the topic alone, the sealer
keeps it (a letter that is not in the table), and the audit names it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from kafka import KafkaConsumer, TopicPartition

from runtime.connections import Kafka
from schemas.events import DeadLetter, readable_events
from schemas.topics import DEAD_LETTERS
from sinks.dead_letters.peers import peer_of
from sinks.dead_letters.store import Limits, keep_letters_within

MAX_MESSAGES: Final = 2_000  # that are read at once
_ANSWER_MS: Final = 5_000
_NOTE: Final = """
    INSERT INTO waiting_letters (peer_id, partition, from_offset, to_offset)
    SELECT * FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[])
    ON CONFLICT (peer_id, partition) DO UPDATE
    SET from_offset = least(waiting_letters.from_offset, excluded.from_offset),
        to_offset = greatest(waiting_letters.to_offset, excluded.to_offset)
"""
_NEXT: Final = """
    SELECT peer_id, partition, from_offset, to_offset FROM waiting_letters
    WHERE (SELECT count(*) FROM dead_letters
           WHERE state = 'open' AND dead_letters.peer_id = waiting_letters.peer_id) < %s
    ORDER BY since, peer_id, partition LIMIT 1
"""
_TAKEN: Final = """
    UPDATE waiting_letters SET from_offset = %(offset)s
    WHERE peer_id = %(peer)s AND partition = %(partition)s AND from_offset = %(from)s AND to_offset > %(offset)s
"""
_DONE: Final = """
    DELETE FROM waiting_letters
    WHERE peer_id = %(peer)s AND partition = %(partition)s AND from_offset = %(from)s AND to_offset <= %(offset)s
"""


class Waiting(NamedTuple):
    """Letters of a peer in a partition of dead-letters, between these offsets (the second is none of them)."""

    peer_id: int
    partition: int
    from_offset: int
    to_offset: int


class Placed(NamedTuple):
    """A letter, and its message's place in the topic of dead letters."""

    letter: DeadLetter
    partition: int
    offset: int


async def note_waiting(connection: psycopg.AsyncConnection[Any], placed: Iterable[Placed]) -> None:
    """These have no room. In the transaction that found so. Raises psycopg.Error."""
    ranges: dict[tuple[int, int], tuple[int, int]] = {}
    for one in placed:
        key = peer_of(one.letter), one.partition
        first, end = ranges.get(key, (one.offset, one.offset + 1))
        ranges[key] = min(first, one.offset), max(end, one.offset + 1)
    if ranges:
        rows = [(*key, *offsets) for key, offsets in sorted(ranges.items())]
        await connection.execute(_NOTE, [list(column) for column in zip(*rows, strict=True)])


async def next_waiting(connection: psycopg.AsyncConnection[Any], of_peer: int) -> Waiting | None:
    """What has waited longest, of the peers that have room. Raises psycopg.Error."""
    row = await (await connection.execute(_NEXT, (of_peer,))).fetchone()
    return None if row is None else Waiting(*row)


def read_waiting(kafka: Kafka, waiting: Waiting) -> tuple[list[Placed], int]:
    """The peer's letters there, and how far was read: to the end, or MAX_MESSAGES. Raises kafka-python's errors."""
    place = TopicPartition(DEAD_LETTERS.name, waiting.partition)
    consumer = KafkaConsumer(
        **kafka.client(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_ANSWER_MS,
        bootstrap_timeout_ms=_ANSWER_MS,
        max_partition_fetch_bytes=4 << 20,
    )
    found: list[Placed] = []
    behind, most = waiting.from_offset, waiting.from_offset + MAX_MESSAGES
    try:
        consumer.assign([place])
        consumer.seek(place, waiting.from_offset)
        while behind < min(waiting.to_offset, most):
            records = consumer.poll(timeout_ms=_ANSWER_MS, max_records=500).get(place, ())
            if not records:
                break
            for record in records:
                if record.offset < waiting.to_offset:
                    found += _of_message(record, waiting)
            behind = min(records[-1].offset + 1, waiting.to_offset)
    finally:
        consumer.close(autocommit=False)
    return found, behind


def _of_message(record: Any, waiting: Waiting) -> Iterable[Placed]:
    for letter in readable_events(record.value):
        if isinstance(letter, DeadLetter) and peer_of(letter) == waiting.peer_id:
            yield Placed(letter, record.partition, record.offset)


async def take_waiting(
    connection: psycopg.AsyncConnection[Any], waiting: Waiting, placed: Sequence[Placed], behind: int, limits: Limits
) -> int:
    """Letters that were read come to the table as far as there is room; how many did. In a transaction of its own."""
    async with connection.transaction():
        kept = await keep_letters_within(connection, [one.letter for one in placed], limits, stop=False)
        still = {letter.origin for letter in kept.waiting}
        offset = min((one.offset for one in placed if one.letter.origin in still), default=behind)
        given = {
            "peer": waiting.peer_id, "partition": waiting.partition, "from": waiting.from_offset, "offset": offset,
        }  # fmt: skip
        await connection.execute(_DONE, given)
        await connection.execute(_TAKEN, given)
    return len(kept.new)
