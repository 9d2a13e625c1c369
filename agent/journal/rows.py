"""What the audit of a journal keeps in PostgreSQL: its files, their hours, and what was not as it should be.

Everything that a look into the journal comes to is written in one transaction with how far it read: counted once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import class_row

from agent.journal.count import Counted, Leg, hours_of
from sinks.audit.continuous.fold import add_hash, leg_hash
from sinks.audit.continuous.store import moment_of, ms_of

NOT_POSTED: Final = "journal leg not in the ledger"
NOT_CLOSED: Final = "leg of an ended call that nothing closed"
UNREADABLE: Final = "journal line neither read nor a dead letter"
TORN: Final = "rotated journal file ends in a torn line"
VANISHED: Final = "journal file vanished before it was posted"
NOT_IN_BOOKS: Final = "answered by Asterisk's own word, and not in the books"
OF_LEGS: Final = (NOT_POSTED, NOT_CLOSED)
State = Literal["wrong", "dead letter", "discarded"]
# Of the journal's legs those that the ledger has. Their moments are the ledger's own: only their partitions are asked.
_POSTED: Final = """
    SELECT DISTINCT reference FROM ledger_entries
    WHERE reference = ANY (%(legs)s::text[]) AND kind = 'leg'
      AND occurred_at BETWEEN timestamptz 'epoch' + %(first)s::bigint * interval '1 millisecond'
                          AND timestamptz 'epoch' + %(last)s::bigint * interval '1 millisecond'
"""
_LETTERS: Final = """
    SELECT leg_id, bool_or(state = 'open') FROM dead_letters
    WHERE leg_id = ANY (%s::text[]) AND state <> 'replayed' GROUP BY 1
"""
_COUNT_HOUR: Final = """
    INSERT INTO audit_journal_hours (node, hour, file, legs, leg_hash, posted_below)
    VALUES (%s, %s, %s, %s, %s, pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    ON CONFLICT (node, hour, file) DO UPDATE SET
        legs = audit_journal_hours.legs + excluded.legs,
        leg_hash = wrapped(audit_journal_hours.leg_hash::numeric + excluded.leg_hash::numeric),
        posted_below = excluded.posted_below
"""
_KEEP_SEGMENT: Final = """
    INSERT INTO journal_segments (node, file, name, bytes, tail, legs, leg_hash, undecodable, first_at, last_at)
    VALUES (%(node)s, %(file)s, %(name)s, %(bytes)s, %(tail)s, %(legs)s, %(leg_hash)s, %(undecodable)s, %(first_at)s,
            %(last_at)s)
    ON CONFLICT (node, file) DO UPDATE SET
        name = excluded.name, bytes = excluded.bytes, tail = excluded.tail, legs = excluded.legs,
        leg_hash = excluded.leg_hash, undecodable = excluded.undecodable, first_at = excluded.first_at,
        last_at = excluded.last_at, sha256 = '', sealed_at = NULL, posted_at = NULL, deleted_at = NULL
"""
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Segment:
    """A row of journal_segments."""

    file: str
    name: str
    bytes: int
    tail: str
    legs: int = 0
    leg_hash: int = 0
    undecodable: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    seen_at: datetime | None = None
    sealed_at: datetime | None = None
    posted_at: datetime | None = None


@dataclass(frozen=True)
class Finding:
    """A row of audit_journal_findings. `hour_ms`: of a leg, the hour that its call began in."""

    kind: str
    subject: str
    state: State = "wrong"
    file: str = ""
    hour_ms: int | None = None
    detail: str = ""


def load_segments(connection: Connection, node: str) -> dict[str, Segment]:
    """The files that are not deleted, by their digest."""
    columns = ", ".join(Segment.__dataclass_fields__)
    with connection.cursor(row_factory=class_row(Segment)) as cursor:
        query = f"SELECT {columns} FROM journal_segments WHERE node = %s AND deleted_at IS NULL"  # noqa: S608 - names of ours
        return {segment.file: segment for segment in cursor.execute(query.encode(), (node,)).fetchall()}


def advance(before: Segment, name: str, bytes_done: int, tail: str, counted: Counted) -> Segment:
    """The segment after these lines of it. Pure."""
    ends = [moment_of(leg.ended_at_ms) for leg in counted.closed]
    hashes = before.leg_hash
    for leg in counted.closed:
        hashes = add_hash(hashes, leg_hash(leg.leg_id))
    return Segment(
        file=before.file,
        name=name,
        bytes=bytes_done,
        tail=tail,
        legs=before.legs + len(ends),
        leg_hash=hashes,
        undecodable=before.undecodable + len(counted.unreadable),
        first_at=before.first_at or (ends[0] if ends else None),
        last_at=max([*ends, before.last_at] if before.last_at else ends, default=None),
        seen_at=before.seen_at,
    )


def keep_segment(connection: Connection, node: str, segment: Segment) -> None:
    """Write how far a file is counted: what was sealed of it before is open again."""
    connection.execute(_KEEP_SEGMENT, {"node": node, **vars(segment)})


def count_hours(connection: Connection, node: str, file: str, legs: Iterable[Leg]) -> None:
    """Add closed legs to the hours of their file."""
    rows = [(node, moment_of(hour), file, sums.legs, sums.leg_hash) for hour, sums in sorted(hours_of(legs).items())]
    with connection.cursor() as cursor:
        cursor.executemany(_COUNT_HOUR, rows)


def posted(connection: Connection, legs: Sequence[str], first_ms: int, last_ms: int) -> set[str]:
    """Those of the legs that the ledger has. Their calls began between these moments (unix ms)."""
    if not legs:
        return set()
    rows = connection.execute(_POSTED, {"legs": list(legs), "first": first_ms, "last": last_ms}).fetchall()
    return {leg_id for (leg_id,) in rows}


def judge(connection: Connection, legs: Sequence[str]) -> dict[str, State]:
    """What it is with legs that the ledger does not have."""
    letters: dict[str, bool] = dict(connection.execute(_LETTERS, (list(legs),)).fetchall()) if legs else {}
    return {leg: "wrong" if leg not in letters else "dead letter" if letters[leg] else "discarded" for leg in legs}


def judge_lines(connection: Connection, origins: Sequence[str]) -> dict[str, State]:
    """What it is with lines that cannot be read; those about whose dead letters was decided are left out."""
    if not origins:
        return {}
    rows = connection.execute(
        "SELECT origin, state FROM dead_letters WHERE origin = ANY (%s::text[])", (list(origins),)
    )
    letters: dict[str, str] = dict(rows.fetchall())
    states: dict[str, State] = {}
    for origin in origins:
        if origin not in letters:
            states[origin] = "wrong"
        elif letters[origin] == "open":
            states[origin] = "dead letter"
    return states


def load_findings(connection: Connection, node: str) -> list[Finding]:
    """All that is kept of a node."""
    rows = connection.execute(
        "SELECT kind, subject, state, file, hour, detail FROM audit_journal_findings WHERE node = %s", (node,)
    ).fetchall()
    return [
        Finding(kind, subject, state, file, None if hour is None else ms_of(hour), detail)
        for kind, subject, state, file, hour, detail in rows
    ]


def keep_findings(connection: Connection, node: str, findings: Iterable[Finding]) -> None:
    """Write them; of those that are known only state and detail change."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit_journal_findings (node, kind, subject, state, file, hour, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (node, kind, subject)"
            " DO UPDATE SET state = excluded.state, detail = excluded.detail",
            [
                (node, one.kind, one.subject, one.state, one.file,
                 None if one.hour_ms is None else moment_of(one.hour_ms), one.detail[:500])
                for one in findings
            ],
        )  # fmt: skip


def drop_findings(connection: Connection, node: str, findings: Sequence[Finding]) -> None:
    """They are no more. Hours of legs that were posted meanwhile wait until the auditor has counted these, too."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM audit_journal_findings WHERE node = %s AND kind = %s AND subject = %s",
            [(node, one.kind, one.subject) for one in findings],
        )
    hours = sorted({moment_of(one.hour_ms) for one in findings if one.hour_ms is not None})
    connection.execute(
        "UPDATE audit_journal_hours SET posted_below = pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        " WHERE node = %s AND hour = ANY (%s)",
        (node, hours),
    )


def replace_findings(connection: Connection, node: str, kinds: Sequence[str], now: Sequence[Finding]) -> None:
    """What there is of these kinds now; what was and is no more goes."""
    with connection.transaction():
        there = {(one.kind, one.subject) for one in now}
        before = [one for one in load_findings(connection, node) if one.kind in kinds]
        drop_findings(connection, node, [one for one in before if (one.kind, one.subject) not in there])
        keep_findings(connection, node, now)


def rename(connection: Connection, node: str, file: str, name: str) -> None:
    """The file has another name now."""
    connection.execute("UPDATE journal_segments SET name = %s WHERE node = %s AND file = %s", (name, node, file))


def forget_file(connection: Connection, node: str, file: str) -> None:
    """As if nothing of this file had been counted: it is counted anew."""
    for table in ("journal_segments", "audit_journal_hours", "audit_journal_findings"):
        connection.execute(f"DELETE FROM {table} WHERE node = %s AND file = %s".encode(), (node, file))  # noqa: S608 - names of ours


def files_of_hour(connection: Connection, node: str, hour_ms: int) -> list[str]:
    """The files that have legs of an hour; '' stands for those that are deleted."""
    found = connection.execute(
        "SELECT file FROM audit_journal_hours WHERE node = %s AND hour = %s ORDER BY file", (node, moment_of(hour_ms))
    )
    return [file for (file,) in found.fetchall()]


def seal(connection: Connection, node: str, file: str, sha256: str) -> None:
    """Nobody writes to the file any more, and all of it is counted."""
    connection.execute(
        "UPDATE journal_segments SET sealed_at = now(), sha256 = %s WHERE node = %s AND file = %s", (sha256, node, file)
    )


def set_posted(connection: Connection, node: str) -> None:
    """Sealed files of whose legs nothing is missing, and nothing is to be decided: they may be deleted one day."""
    connection.execute(
        "UPDATE journal_segments AS s SET posted_at = now()"
        " WHERE node = %s AND sealed_at IS NOT NULL AND posted_at IS NULL AND NOT EXISTS ("
        "  SELECT FROM audit_journal_findings AS f WHERE f.node = s.node AND f.file = s.file AND state <> 'discarded')",
        (node,),
    )


def set_deleted(connection: Connection, node: str, file: str) -> None:
    """The file is gone from the disk; what it counted stays, as one sum an hour for all deleted files."""
    connection.execute("UPDATE journal_segments SET deleted_at = now() WHERE node = %s AND file = %s", (node, file))
    connection.execute(
        "INSERT INTO audit_journal_hours (node, hour, file, legs, leg_hash, posted_below)"
        " SELECT node, hour, '', legs, leg_hash, posted_below FROM audit_journal_hours WHERE node = %s AND file = %s"
        " ON CONFLICT (node, hour, file) DO UPDATE SET legs = audit_journal_hours.legs + excluded.legs,"
        " leg_hash = wrapped(audit_journal_hours.leg_hash::numeric + excluded.leg_hash::numeric),"
        " posted_below = greatest(audit_journal_hours.posted_below, excluded.posted_below)",
        (node, file),
    )
    connection.execute("DELETE FROM audit_journal_hours WHERE node = %s AND file = %s", (node, file))


def report(connection: Connection, node: str, waiting_bytes: int) -> None:
    """Say how far this journal is counted."""
    connection.execute(
        "INSERT INTO audit_journals VALUES (%s, now(), %s)"
        " ON CONFLICT (node) DO UPDATE SET at = excluded.at, waiting_bytes = excluded.waiting_bytes",
        (node, waiting_bytes),
    )
