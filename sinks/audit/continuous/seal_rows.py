"""Sealing, PostgreSQL's side: the manifests, and what ledger, dead letters and findings say of a range's legs."""

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

import psycopg

from schemas.frame import partition_of
from schemas.money import decimal_from_micros
from sinks.audit.continuous.seal_fold import Closing, Entry, Letter, Manifest
from sinks.audit.continuous.store import moment_of

# Entries of legs: their moments are the calls' own starts, so only the partitions of these are asked.
_ENTRIES: Final = """
    SELECT reference, revision, entries.kind = 'leg', split_part(contra.name, ' ', 1) = 'revenue', contra.currency,
           (amount * 1000000)::bigint, entries.account_id, rated_offset
    FROM ledger_entries AS entries JOIN accounts AS contra ON contra.account_id = contra_account_id
    WHERE reference = ANY (%(legs)s::text[]) AND contra.name ~ '^(revenue|cost) '
      AND occurred_at BETWEEN timestamptz 'epoch' + %(first)s::bigint * interval '1 millisecond'
                          AND timestamptz 'epoch' + %(last)s::bigint * interval '1 millisecond'
"""
_ANY_ENTRIES: Final = _ENTRIES.partition("      AND occurred_at")[0]
_LETTERS: Final = """
    SELECT origin, state, leg_id FROM dead_letters
    WHERE starts_with(origin, %(place)s) OR origin = ANY (%(origins)s::text[]) OR leg_id = ANY (%(legs)s::text[])
"""
_DIFFERING: Final = """
    SELECT subject FROM audit_differences WHERE resolved_at IS NULL AND subject = ANY (%(legs)s::text[])
    UNION SELECT subject FROM audit_journal_findings WHERE state <> 'discarded' AND subject = ANY (%(legs)s::text[])
"""
Connection = psycopg.Connection[Any]
Place = tuple[str, int]  # topic and partition


class ToDelete(NamedTuple):
    """Sealed and not deleted yet: everything of a partition before the offset."""

    topic: str
    partition: int
    before_offset: int


def ends(connection: Connection) -> dict[Place, int]:
    """Of each partition the first offset that no manifest covers."""
    rows = connection.execute("SELECT topic, partition, max(to_offset) FROM topic_segments GROUP BY 1, 2").fetchall()
    return {(topic, partition): offset for topic, partition, offset in rows}


def to_delete(connection: Connection) -> list[ToDelete]:
    """What was sealed and perhaps not deleted."""
    rows = connection.execute(
        "SELECT topic, partition, max(to_offset) FROM topic_segments WHERE deleted_at IS NULL"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    return [ToDelete(*row) for row in rows]


def set_deleted(connection: Connection, done: ToDelete) -> None:
    """They are gone from the topic."""
    connection.execute(
        "UPDATE topic_segments SET deleted_at = now()"
        " WHERE topic = %s AND partition = %s AND to_offset <= %s AND deleted_at IS NULL",
        done,
    )


def position(connection: Connection) -> list[int]:
    """The auditor's own offsets in rated-legs, by partition; empty: it has none yet."""
    row = connection.execute("SELECT rated_offsets FROM audit_state").fetchone()
    return list(row[0]) if row else []


def keep(connection: Connection, topic: str, partition: int, sealed: Manifest) -> None:
    """Write a manifest, whole or not at all."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO topic_segments (topic, partition, from_offset, to_offset, messages, legs, leg_hash, refused,"
            " refused_hash, first_at, last_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                topic, partition, sealed.from_offset, sealed.to_offset, sealed.messages, sealed.legs, sealed.leg_hash,
                sealed.refused, sealed.refused_hash, moment_of(sealed.first_at_ms), moment_of(sealed.last_at_ms),
            ),
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO topic_segment_money VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    (topic, partition, sealed.from_offset, side, currency, decimal_from_micros(micros))
                    for (side, currency), micros in sorted(sealed.money.items())
                ],
            )


def entries_of(
    connection: Connection, legs: Collection[Closing], further: Iterable[str], partitions: int
) -> list[Entry]:
    """The ledger's entries of these legs, and of further ones of which only the id is known."""
    rows = []
    if legs:
        starts = [leg.call_started_at_ms for leg in legs]
        within = {"legs": [leg.leg_id for leg in legs], "first": min(starts), "last": max(starts)}
        rows += connection.execute(_ENTRIES.encode(), within).fetchall()
    if others := sorted(set(further) - {leg.leg_id for leg in legs}):
        rows += connection.execute(_ANY_ENTRIES.encode(), {"legs": others}).fetchall()
    return [
        Entry(
            leg_id, revision, first, "receivable" if revenue else "payable", currency, -micros if revenue else micros,
            partition_of(str(account_id), partitions), offset,
        )
        for leg_id, revision, first, revenue, currency, micros, account_id, offset in rows
    ]  # fmt: skip


def letters_of(
    connection: Connection, topic: str, partition: int, legs: Collection[str], origins: Collection[str]
) -> list[Letter]:
    """The dead letters of a partition, of these legs, and of these origins."""
    asked = {"place": f"{topic}/{partition}/", "origins": list(origins), "legs": list(legs)}
    return [Letter(*row) for row in connection.execute(_LETTERS, asked).fetchall()]


def differing(connection: Connection, legs: Collection[str]) -> frozenset[str]:
    """Those of the legs about which something is found to be wrong."""
    rows = connection.execute(_DIFFERING, {"legs": list(legs)}).fetchall()
    return frozenset(leg_id for (leg_id,) in rows)
