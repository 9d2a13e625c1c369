"""How far back the stores still have everything, and what stands in the manifests of what was deleted before.

A leg of rated-legs that was sealed is rated no more where anybody could read it: its place is taken by the ledger's own
entry, whose sums must be just what the manifests say, and which must still be like its CDR.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from kafka import KafkaConsumer, TopicPartition

from runtime.connections import Kafka
from schemas.frame import partition_of
from schemas.topics import RATED_LEGS, SEALED
from sinks.audit.continuous.seal_fold import Letter, hash_of, refused_legs

_MANIFESTS: Final = """
    SELECT topic, partition, max(to_offset), sum(legs)::bigint, wrapped(sum(leg_hash)), sum(refused)::bigint,
           wrapped(sum(refused_hash))
    FROM topic_segments GROUP BY 1, 2
"""
_MONEY: Final = """
    SELECT partition, currency, side, (sum(amount) * 1000000)::bigint FROM topic_segment_money WHERE topic = %s
    GROUP BY 1, 2, 3 HAVING sum(amount) <> 0
"""
_UNEQUAL: Final = """
    SELECT from_offset, to_offset, first_at, last_at, segments.legs, count(reference)
    FROM topic_segments AS segments
    LEFT JOIN ledger_entries AS entries
        ON rated_offset >= from_offset AND rated_offset < to_offset AND kind = 'leg' AND account_id = ANY (%(accounts)s)
    WHERE topic = %(topic)s AND partition = %(partition)s
    GROUP BY topic, partition, from_offset
    HAVING segments.legs <> count(reference)
        OR segments.leg_hash <> wrapped(sum(('x' || left(md5(reference), 16))::bit(64)::bigint))
    ORDER BY from_offset LIMIT 5
"""
_ANSWER_MS: Final = 15_000
Key = tuple[str, str]  # currency and side


class JournalRange(msgspec.Struct, frozen=True):
    """The journals of a node: the first moment that a line of theirs tells of, and the legs in manifests before it."""

    first_at: str | None
    sealed_legs: int


class TopicRange(msgspec.Struct, frozen=True):
    """A partition: the first message that counts as retained and its moment; the legs in manifests before it."""

    partition: int
    first_offset: int
    first_at: str | None
    sealed_legs: int


class Range(msgspec.Struct, frozen=True):
    """What was recounted: journals by node, topics by name."""

    journals: Mapping[str, JournalRange] = msgspec.field(default_factory=dict)
    topics: Mapping[str, Sequence[TopicRange]] = msgspec.field(default_factory=dict)


class Sums(NamedTuple):
    """Legs before the first retained message of a partition: how many, which, their money; and those refused."""

    legs: int = 0
    leg_hash: int = 0
    refused: int = 0
    refused_hash: int = 0
    money: tuple[tuple[Key, int], ...] = ()


@dataclass(frozen=True)
class Manifests:
    """All manifests of topics together. `ends`: (topic, partition): the first offset that none of them covers."""

    ends: Mapping[tuple[str, int], int] = field(default_factory=dict)
    legs: Mapping[tuple[str, int], int] = field(default_factory=dict)
    rated: Mapping[int, Sums] = field(default_factory=dict)  # of rated-legs, by partition

    def rated_end(self, partition: int) -> int:
        """The first message of rated-legs that is to be read there."""
        return self.ends.get((RATED_LEGS.name, partition), 0)


class SealedLeg(NamedTuple):
    """What the ledger has of a leg, or of its first revisions, from before the first retained message."""

    leg_id: str
    partition: int
    key: Key
    placed: bool  # False: its entries do not say where they were rated
    first: bool  # its first entry is among them
    micros: int


def read_manifests(connection: psycopg.Connection[Any]) -> Manifests:
    """Summed up by partition. Raises psycopg.Error."""
    ends: dict[tuple[str, int], int] = {}
    legs: dict[tuple[str, int], int] = {}
    rated: dict[int, Sums] = {}
    money: dict[int, dict[Key, int]] = {}
    for partition, currency, side, micros in connection.execute(_MONEY, (RATED_LEGS.name,)).fetchall():
        money.setdefault(partition, {})[currency, side] = micros
    for topic, partition, end, count, *sums in connection.execute(_MANIFESTS).fetchall():
        ends[topic, partition], legs[topic, partition] = end, count
        if topic == RATED_LEGS.name:
            hashes, refused, refused_hashes = sums
            of_partition = tuple(sorted(money.get(partition, {}).items()))
            rated[partition] = Sums(count, hashes, refused, refused_hashes, of_partition)
    return Manifests(ends, legs, rated)


def account_ends(accounts: Sequence[int], manifests: Manifests, partitions: int) -> tuple[list[int], list[int]]:
    """The accounts whose legs are sealed in part, and before which offset: two columns for the ledger's query."""
    ends = {account: manifests.rated_end(partition_of(str(account), partitions)) for account in accounts}
    some = {account: end for account, end in ends.items() if end}
    return list(some), list(some.values())


def recount(
    manifests: Manifests,
    sealed: Sequence[SealedLeg],
    retained: Mapping[str, Any],
    letters: Sequence[Letter],
    posted: Mapping[str, tuple[int, int | None]],
) -> tuple[dict[int, Sums], set[str]]:
    """What the ledger and the table of dead letters have for the manifests' ranges, and which legs those are. Pure.

    `retained`: rated legs that the topic still has; `posted`: place of the first entry of each leg of a dead letter.
    """
    legs: dict[int, set[str]] = {partition: set() for partition in manifests.rated}
    refused: dict[int, set[str]] = {partition: set() for partition in manifests.rated}
    money: dict[int, dict[Key, int]] = {partition: {} for partition in manifests.rated}
    for leg in sealed:
        if leg.partition in legs and (leg.placed or leg.leg_id not in retained):
            sums = money[leg.partition]
            sums[leg.key] = sums.get(leg.key, 0) + leg.micros
            if leg.first:
                legs[leg.partition].add(leg.leg_id)
    for leg_id, (partition, offset) in refused_legs(letters, posted).items():
        if partition in refused and offset < manifests.rated_end(partition):
            refused[partition].add(leg_id)
    found = {
        partition: Sums(
            len(legs[partition]),
            hash_of(legs[partition]),
            len(refused[partition]),
            hash_of(refused[partition]),
            tuple(sorted((key, micros) for key, micros in money[partition].items() if micros)),
        )
        for partition in manifests.rated
    }
    return found, {leg_id for of_partition in (*legs.values(), *refused.values()) for leg_id in of_partition}


def unequal_segments(connection: psycopg.Connection[Any], partition: int, partitions: int) -> str:
    """The ranges whose legs the ledger has not as their manifests have them, in words. Raises psycopg.Error."""
    accounts = [
        account
        for (account,) in connection.execute("SELECT account_id FROM accounts").fetchall()
        if partition_of(str(account), partitions) == partition
    ]
    asked = {"accounts": accounts, "topic": RATED_LEGS.name, "partition": partition}
    return "; ".join(
        f"offsets {first} to {end - 1} ({text_of(first_at)} to {text_of(last_at)}): {legs} legs sealed, {found} posted"
        for first, end, first_at, last_at, legs, found in connection.execute(_UNEQUAL, asked).fetchall()
    )


class Beginning(NamedTuple):
    """The first message that a partition still has, and its moment."""

    offset: int
    at: datetime | None


def beginnings(kafka: Kafka, manifests: Manifests) -> dict[tuple[str, int], tuple[int, Beginning]]:
    """Of each sealed topic's partitions: the broker's first offset, and the first retained message.

    Messages that a manifest covers and that are still there (a deletion that was cut short) are not retained ones.
    """
    partitions = [TopicPartition(topic.name, number) for topic in SEALED for number in range(kafka.partitions)]
    consumer = KafkaConsumer(
        **kafka.client(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_ANSWER_MS,
        bootstrap_timeout_ms=_ANSWER_MS,
    )
    try:
        first = consumer.beginning_offsets(partitions)
        ends = consumer.end_offsets(partitions)
        from_offsets = {one: max(first[one], manifests.ends.get((one.topic, one.partition), 0)) for one in partitions}
        moments = dict(_moments(consumer, {one: at for one, at in from_offsets.items() if at < ends[one]}))
    finally:
        consumer.close()
    return {
        (one.topic, one.partition): (first[one], Beginning(from_offsets[one], moments.get(one))) for one in partitions
    }


def _moments(consumer: Any, offsets: Mapping[Any, int]) -> Iterator[tuple[Any, datetime]]:
    """The moments of these messages."""
    for place, offset in offsets.items():
        consumer.assign([place])
        consumer.seek(place, offset)
        for records in consumer.poll(timeout_ms=_ANSWER_MS, max_records=1).values():
            yield place, datetime.fromtimestamp(records[0].timestamp / 1000, UTC)


def topic_ranges(
    found: Mapping[tuple[str, int], tuple[int, Beginning]], manifests: Manifests
) -> dict[str, list[TopicRange]]:
    """For the report."""
    ranges: dict[str, list[TopicRange]] = {}
    for (topic, partition), (_, start) in sorted(found.items()):
        sealed = manifests.legs.get((topic, partition), 0)
        ranges.setdefault(topic, []).append(TopicRange(partition, start.offset, text_of(start.at), sealed))
    return ranges


def text_of(moment: datetime | None) -> str | None:
    """As the report has moments."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
