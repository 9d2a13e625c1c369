"""What the audit reads: each store's own account of the legs, whole; of what was deleted, its manifests."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

import psycopg
from kafka import KafkaConsumer, TopicPartition
from pydantic import Field

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Frozen, Kafka, Postgres
from schemas.events import DeadLetter, RatedLeg, readable_events
from schemas.topics import DEAD_LETTERS, RATED_LEGS, Topic
from sinks.audit.continuous import seal_fold
from sinks.audit.continuous.calls import OpenCall, Patience
from sinks.audit.continuous.seal_rows import entries_of
from sinks.audit.continuous.store import moment_of
from sinks.audit.full.calls import PATIENCE, calls_named, read_cdr_calls
from sinks.audit.full.journals import read_all, read_journals, unclosed_legs
from sinks.audit.full.ledger import Ledger, Money, read_ledger
from sinks.audit.full.range import (
    JournalRange,
    Manifests,
    Range,
    Sums,
    beginnings,
    recount,
    text_of,
    topic_ranges,
    unequal_segments,
)
from sinks.dead_letters.messages import raw_of

__all__ = [
    "AuditSettings", "Ledger", "Letter", "Money", "Sealed", "Sealing", "Stores", "read_journals", "read_letters",
    "read_stores", "read_topic", "unclosed_legs",
]  # fmt: skip


class AuditSettings(Frozen):
    """The stores to compare. `journals`: the journal directory of each node, by node name.

    `young_seconds`, `silent_seconds`: as of the continuous audit (sinks/audit/continuous/settings.py).
    """

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    journals: Mapping[str, Path]
    young_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    silent_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0

    @property
    def patience(self) -> Patience:
        """With calls without an end. What is on its way is the caller's matter: it looks again."""
        return Patience(round(self.young_seconds * 1000), 0, round(self.silent_seconds * 1000))


_FROM_THE_BEGINNING: Final[Mapping[int, int]] = MappingProxyType({})
_SEALED: Final = """
    SELECT node, sum(legs)::bigint, wrapped(sum(leg_hash))
    FROM journal_segments WHERE deleted_at IS NOT NULL GROUP BY node
"""


class Sealed(NamedTuple):
    """What the manifests say of a node's journals that were deleted, all legs posted: how many, and their hash."""

    legs: int
    leg_hash: int


class Sealing(NamedTuple):
    """The manifests of a partition of rated-legs together, and what the ledger has of the same legs."""

    manifest: Sums
    ledger: Sums
    where: str  # the ranges that differ


@dataclass(frozen=True)
class Stores:
    """All four accounts of the legs. Keys are leg ids."""

    journal: Mapping[str, None]
    unclosed: frozenset[str]  # opened in an epoch that is over, and never closed
    estimated: frozenset[str]  # rated legs whose newest revision closes them by estimate
    undecodable: int
    unreported: Sequence[str]  # NODE:FILE:OFFSET of lines that cannot be read: no open or discarded dead letters either
    rated: Mapping[str, Money]
    dead_letters: int  # open or discarded
    dead_legs: frozenset[str]  # legs of those
    cdrs: Mapping[str, Money]
    ledger: Ledger
    sealed: Mapping[str, "Sealed"] = field(default_factory=dict)  # by node: journals that are deleted
    open_letters: Sequence[tuple[str, str]] = ()  # origin and leg of dead letters that nobody has decided about
    unkept: Sequence[str] = ()  # origins of dead letters that are in their topic and not in their table
    seals: Mapping[int, Sealing] = field(default_factory=dict)  # of rated-legs, by partition
    repeated_cdrs: Mapping[str, int] = field(default_factory=dict)  # legs with several, and how many
    unsealed: Sequence[str] = ()  # partitions that begin behind all of their manifests
    range: Range = field(default_factory=Range)
    not_in_books: Sequence[
        tuple[str, str]
    ] = ()  # calls that were answered by Asterisk's own word, and how they are closed
    admitted: Sequence[OpenCall] = ()  # calls that were admitted and have no CDR of their inbound leg
    one_sided: Sequence[str] = ()  # calls that are answered for the customer, and by no vendor
    lettered: frozenset[str] = frozenset()  # calls that open or discarded dead letters name
    patience: Patience = PATIENCE


def read_stores(settings: AuditSettings) -> Stores:
    """Read every store, the last one on the line first: a leg in flight is then missing downstream, never a surplus."""
    stores = _read_stores(settings)
    if stores.unsealed:  # sealed and deleted while it was read: read again with the new manifests
        stores = _read_stores(settings)
    return stores


def _read_stores(settings: AuditSettings) -> Stores:
    kept = read_letters(settings.postgres)
    ledger = read_ledger(settings.postgres, settings.kafka.partitions)
    cdrs, repeated_cdrs = read_cdrs(settings.clickhouse)
    manifests = ledger.manifests
    starts = beginnings(settings.kafka, manifests)
    unkept = _unkept(settings.kafka, {letter.origin for letter in kept})
    rated, estimated = read_rated(settings.kafka, manifests)
    seals, behind = _read_seals(settings, ledger, rated, kept)
    for leg_id in behind - rated.keys():  # what was sealed is told by the ledger; what was refused, by its CDR
        if (money := ledger.legs.get(leg_id) or cdrs.get(leg_id)) is not None:
            rated[leg_id] = money
            estimated |= ledger.estimated & {leg_id}
    calls = read_cdr_calls(settings.clickhouse)
    read = read_all(settings.journals)
    # What is not in the table is a difference by itself: its leg need not be one as well.
    excused = [letter for letter in kept if letter.state in ("open", "discarded")]
    reported = {(node_of_letter(letter.origin), letter.raw.rstrip(b"\r\n")) for letter in (*excused, *unkept)}
    sealed = read_sealed(settings.postgres)
    return Stores(
        journal=read.closed,
        sealed=sealed,
        unclosed=unclosed_legs(read.opened, read.closed),
        estimated=frozenset(estimated),
        undecodable=len(read.unreadable),
        unreported=[line.place for line in read.unreadable if (line.node, line.raw) not in reported],
        rated=rated,
        dead_letters=len(excused),
        dead_legs=frozenset(letter.leg_id for letter in (*excused, *unkept) if letter.leg_id),
        open_letters=sorted((letter.origin, letter.leg_id) for letter in excused if letter.state == "open"),
        cdrs=cdrs,
        repeated_cdrs=repeated_cdrs,
        ledger=ledger,
        unkept=sorted({letter.origin for letter in unkept}),
        seals=seals,
        not_in_books=read.not_in_books,
        unsealed=[
            f"{topic}/{partition}: begins at {first}, sealed before {manifests.ends.get((topic, partition), 0)}"
            for (topic, partition), (first, _) in sorted(starts.items())
            if first > manifests.ends.get((topic, partition), 0)
        ],
        admitted=calls.admitted,
        one_sided=calls.one_sided,
        lettered=calls_named(letter.raw for letter in (*excused, *unkept)),
        patience=settings.patience,
        range=Range(
            journals={
                node: JournalRange(
                    text_of(moment_of(read.first_ms[node])) if node in read.first_ms else None,
                    sealed[node].legs if node in sealed else 0,
                )
                for node in sorted({*settings.journals, *sealed})
            },
            topics=topic_ranges(starts, manifests),
        ),
    )


def read_rated(kafka: Kafka, manifests: Manifests) -> tuple[dict[str, Money], set[str]]:
    """The rated legs that no manifest covers, each at its highest revision, and those of them that are estimates."""
    rated: dict[str, Money] = {}
    estimated: set[str] = set()
    revisions: dict[str, int] = {}
    first = {partition: manifests.rated_end(partition) for partition in range(kafka.partitions)}
    for leg in read_topic(kafka, RATED_LEGS, first):
        if isinstance(leg, RatedLeg) and leg.revision >= revisions.get(leg.leg_id, 0):
            rated[leg.leg_id] = Money(leg.side, leg.currency, leg.account_id, leg.amount_micros)
            revisions[leg.leg_id] = leg.revision
            (estimated.add if leg.ended.estimated else estimated.discard)(leg.leg_id)
    return rated, estimated


def _read_seals(
    settings: AuditSettings, ledger: Ledger, rated: Mapping[str, Money], kept: Sequence["Letter"]
) -> tuple[dict[int, Sealing], set[str]]:
    """Manifests beside what is there now, and the legs that they are about."""
    manifests, partitions = ledger.manifests, settings.kafka.partitions
    if not manifests.rated:
        return {}, set()
    letters = [
        seal_fold.Letter(letter.origin, letter.state, letter.leg_id)
        for letter in kept
        if letter.leg_id and letter.origin.startswith(f"{RATED_LEGS.name}/")
    ]
    seals: dict[int, Sealing] = {}
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        entries = entries_of(connection, (), [letter.leg_id for letter in letters], partitions)
        found, behind = recount(manifests, ledger.sealed, rated, letters, seal_fold.first_places(entries))
        for partition, sums in sorted(manifests.rated.items()):
            where = "" if found[partition] == sums else unequal_segments(connection, partition, partitions)
            seals[partition] = Sealing(sums, found[partition], where)
    return seals, behind


def read_sealed(postgres: Postgres) -> dict[str, Sealed]:
    """By node, the manifests of the journals that were deleted."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        return {node: Sealed(legs, leg_hash) for node, legs, leg_hash in connection.execute(_SEALED).fetchall()}


class Letter(NamedTuple):
    """What the audit needs of a dead letter. Only of open and discarded ones is it content that a leg is missing."""

    origin: str
    state: str
    leg_id: str
    raw: bytes


def read_letters(postgres: Postgres) -> list[Letter]:
    """The table of dead letters."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT origin, state, leg_id, CASE WHEN state <> 'replayed' THEN raw ELSE '' END FROM dead_letters"
        )
        return [Letter(*row) for row in rows.fetchall()]


def _unkept(kafka: Kafka, kept: Container[str]) -> list[Letter]:
    """The letters in their topic that are not in the table: they wait for room there, or are lost."""
    return [
        Letter(one.origin, "open", one.leg_id, raw_of(one))
        for one in read_topic(kafka, DEAD_LETTERS)
        if isinstance(one, DeadLetter) and one.origin not in kept
    ]


def node_of_letter(origin: str) -> str:
    """The node whose journal a dead letter is from; empty: it is from elsewhere."""
    return origin.split(":")[1] if origin.startswith("journal:") else ""


def read_topic(kafka: Kafka, topic: Topic, first: Mapping[int, int] = _FROM_THE_BEGINNING) -> Iterator[Any]:
    """The events of a framed topic from its beginning to its end as it is now; the unreadable is passed over.

    `first`: offset before which messages of a partition are passed over.
    """
    consumer = KafkaConsumer(
        **kafka.client(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_bytes=64 << 20,
    )
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(kafka.partitions)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for messages in consumer.poll(timeout_ms=500, max_records=5_000).values():
                for message in messages:
                    if message.offset >= first.get(message.partition, 0):
                        yield from readable_events(message.value)
    finally:
        consumer.close()


def read_cdrs(clickhouse: ClickHouse) -> tuple[dict[str, Money], dict[str, int]]:
    """Each leg at its newest revision; and those that have more than one such row, with their number."""
    client = connect(clickhouse, answer_seconds=300)
    try:
        rows = client.query(
            "SELECT leg_id, side, currency, account_id, toInt64(toDecimal128(amount, 6) * 1000000) FROM legs FINAL"
        ).result_rows
    finally:
        client.close()
    cdrs: dict[str, Money] = {}
    repeated: dict[str, int] = {}
    for leg_id, *money in rows:
        if leg_id in cdrs:
            repeated[leg_id] = repeated.get(leg_id, 1) + 1
        cdrs[leg_id] = Money(*money)
    return cdrs, repeated
