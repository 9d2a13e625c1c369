"""What the continuous audit has found, from PostgreSQL, shared by all viewers for some seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import class_row

from dashboards.kit.cached_read import CachedRead
from runtime.postgres_pool import Connections

RUNS: Final = 60
MAX_ROWS: Final = 500
MENDED: Final = 50
_KEEP_SECONDS: Final = 5.0
_RUNS: Final = "SELECT at, seconds, ok, compared, waiting, differences FROM audit_runs ORDER BY at DESC LIMIT %s"
_OPEN: Final = """
    SELECT difference_id, kind, subject, detail, since, resolved_at FROM audit_differences WHERE resolved_at IS NULL
    ORDER BY since, subject LIMIT %s
"""
_MENDED: Final = """
    SELECT difference_id, kind, subject, detail, since, resolved_at FROM audit_differences
    WHERE resolved_at > now() - interval '1 day' ORDER BY resolved_at DESC, subject LIMIT %s
"""
_JOURNALS: Final = """
    WITH files AS (
        SELECT node, count(*) FILTER (WHERE deleted_at IS NULL) AS files,
               count(*) FILTER (WHERE sealed_at IS NOT NULL AND deleted_at IS NULL) AS sealed,
               count(*) FILTER (WHERE posted_at IS NOT NULL AND deleted_at IS NULL) AS posted,
               count(*) FILTER (WHERE deleted_at IS NOT NULL) AS deleted,
               coalesce(sum(bytes) FILTER (WHERE deleted_at IS NULL), 0)::bigint AS bytes,
               sum(legs)::bigint AS legs, min(first_at) FILTER (WHERE deleted_at IS NULL) AS first_at
        FROM journal_segments GROUP BY node
    ), ledger AS (
        SELECT node, sum(legs)::bigint AS posted_legs FROM audit_hours GROUP BY node
    )
    SELECT node, at, coalesce(waiting_bytes, 0) AS waiting_bytes, coalesce(files, 0) AS files,
           coalesce(sealed, 0) AS sealed, coalesce(posted, 0) AS posted, coalesce(deleted, 0) AS deleted,
           coalesce(bytes, 0) AS bytes, coalesce(legs, 0) AS legs, coalesce(posted_legs, 0) AS posted_legs, first_at
    FROM audit_journals FULL JOIN files USING (node) FULL JOIN ledger USING (node) ORDER BY node
"""
_LOW: Final = "SELECT name, disk_low_since FROM nodes WHERE disk_low_since IS NOT NULL ORDER BY name"
_HOURS: Final = "SELECT count(DISTINCT hour) FILTER (WHERE compared), count(DISTINCT hour) FROM audit_hours"


class Run(NamedTuple):
    """A run of the audit."""

    at: datetime
    seconds: float
    ok: bool
    compared: int
    waiting: int
    differences: int


@dataclass(frozen=True)
class Difference:
    """Something that differs, or did."""

    difference_id: int
    kind: str
    subject: str
    detail: str
    since: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class Journal:
    """A node's journal: what its agent has counted of it, and what the ledger has of the node."""

    node: str
    at: datetime | None
    waiting_bytes: int
    files: int
    sealed: int
    posted: int
    deleted: int
    bytes: int
    legs: int
    posted_legs: int
    first_at: datetime | None


@dataclass(frozen=True)
class AuditState:
    """All that the page shows. `runs`: the newest first. `away`: why nothing is known; empty if it is.

    `low_disks`: nodes whose journal's disk is nearly full, and since when.
    """

    runs: Sequence[Run] = ()
    open: Sequence[Difference] = ()
    mended: Sequence[Difference] = ()
    journals: Sequence[Journal] = ()
    hours_compared: int = 0
    hours: int = 0
    away: str = ""
    low_disks: Sequence[tuple[str, datetime]] = ()


class AuditStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        self._cached = CachedRead(
            connections,
            _read,
            first=AuditState(away="the audit's rows have not been read yet"),
            when_down=lambda _: AuditState(away="PostgreSQL does not answer: what the audit found is not known"),
            keep_seconds=_KEEP_SECONDS,
            failed="the audit's rows cannot be read",
        )

    def state(self) -> AuditState:
        """The state as of some seconds ago at most; `away` while PostgreSQL does not answer."""
        return self._cached.current()


def _read(connection: psycopg.Connection[Any]) -> AuditState:
    hours = connection.execute(_HOURS).fetchone() or (0, 0)
    with connection.cursor(row_factory=class_row(Difference)) as cursor:
        differing = cursor.execute(_OPEN, (MAX_ROWS,)).fetchall()
        mended = cursor.execute(_MENDED, (MENDED,)).fetchall()
    with connection.cursor(row_factory=class_row(Journal)) as cursor:
        journals = cursor.execute(_JOURNALS).fetchall()
    low = connection.execute(_LOW).fetchall()
    runs = [Run(*row) for row in connection.execute(_RUNS, (RUNS,)).fetchall()]
    return AuditState(runs, differing, mended, journals, hours[0], hours[1], low_disks=low)
