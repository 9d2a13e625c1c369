"""What the auditor keeps, in PostgreSQL, in one transaction a run: positions, what waits, sums, and what it found."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from schemas.money import decimal_from_micros
from sinks.audit.continuous.fold import Difference, Sums, Waiting, add_hash

VERSION: Final = 1
HOURS_A_RUN: Final = 24
_decoder: Final = msgspec.json.Decoder(list[Waiting])


class Position(msgspec.Struct, frozen=True):
    """Where the auditor stands: entries below `posted_xact` of that server are counted, messages before the offsets
    are read, decisions stored before `decided_at` are looked at (None: none yet).
    """

    server: str
    posted_xact: int
    rated_offsets: tuple[int, ...]
    decided_at: datetime | None = None


def load(connection: psycopg.Connection[Any]) -> tuple[Position, dict[str, Waiting]] | None:
    """Position and what waits; None: nothing was kept yet, or by another version."""
    row = connection.execute(
        "SELECT server, posted_xact, rated_offsets, waiting, decided_at FROM audit_state WHERE version = %s", (VERSION,)
    ).fetchone()
    if row is None:
        return None
    return Position(row[0], row[1], tuple(row[2]), row[4]), {item.leg_id: item for item in _decoder.decode(row[3])}


def save(connection: psycopg.Connection[Any], position: Position, waiting: Mapping[str, Waiting]) -> None:
    """Keep them, in the caller's transaction."""
    connection.execute(
        "INSERT INTO audit_state (version, server, posted_xact, rated_offsets, waiting, decided_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, server = excluded.server,"
        " posted_xact = excluded.posted_xact, rated_offsets = excluded.rated_offsets, waiting = excluded.waiting,"
        " decided_at = excluded.decided_at",
        (
            VERSION,
            position.server,
            position.posted_xact,
            list(position.rated_offsets),
            msgspec.json.encode(list(waiting.values())),
            position.decided_at,
        ),
    )


def begin(connection: psycopg.Connection[Any], horizon: int) -> None:
    """Count what the ledger has below the horizon: the sums from which a new auditor goes on."""
    connection.execute("TRUNCATE audit_accounts, audit_hours")
    connection.execute(
        "INSERT INTO audit_accounts"
        " SELECT account_id, sum(amount) FROM ledger_entries WHERE posted_xact < %s GROUP BY 1",
        (horizon,),
    )
    connection.execute(
        """
        INSERT INTO audit_hours (hour, node, legs, leg_hash, amount, changed_at)
        SELECT date_trunc('hour', occurred_at), split_part(reference, '-', 1),
               count(*) FILTER (WHERE entries.kind = 'leg'),
               wrapped(sum(('x' || left(md5(reference), 16))::bit(64)::bigint) FILTER (WHERE entries.kind = 'leg')),
               sum(CASE WHEN contra.name LIKE 'revenue %%' THEN -amount ELSE amount END), now()
        FROM ledger_entries AS entries JOIN accounts AS contra ON contra.account_id = contra_account_id
        WHERE posted_xact < %s AND entries.kind <> 'payment' AND reference ~ '^[a-z0-9]+-[0-9]+-[0-9.]+/[0-9]+$'
        GROUP BY 1, 2
        """,
        (horizon,),
    )


def add_accounts(connection: psycopg.Connection[Any], sums: Mapping[int, int]) -> None:
    """Add to the sums of accounts (micros)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit_accounts VALUES (%s, %s)"
            " ON CONFLICT (account_id) DO UPDATE SET entries = audit_accounts.entries + excluded.entries",
            [(account, decimal_from_micros(micros)) for account, micros in sorted(sums.items())],
        )


def add_hours(connection: psycopg.Connection[Any], sums: Mapping[tuple[int, str], Sums], now: datetime) -> None:
    """Add to the sums of hours; they are to be compared with the CDRs again."""
    keys = sorted(sums)
    known = {
        (hour, node): leg_hash
        for hour, node, leg_hash in connection.execute(
            "SELECT hour, node, leg_hash FROM audit_hours WHERE hour = ANY (%s)",
            (sorted({moment_of(hour) for hour, _ in keys}),),
        )
    }
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit_hours (hour, node, legs, leg_hash, amount, changed_at) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (hour, node) DO UPDATE SET legs = audit_hours.legs + excluded.legs,"
            " leg_hash = excluded.leg_hash, amount = audit_hours.amount + excluded.amount,"
            " changed_at = excluded.changed_at, compared = false",
            [
                (
                    moment_of(hour),
                    node,
                    sums[hour, node].legs,
                    add_hash(known.get((moment_of(hour), node), 0), sums[hour, node].leg_hash),
                    decimal_from_micros(sums[hour, node].micros),
                    now,
                )
                for hour, node in keys
            ],
        )


def hours_at_rest(connection: psycopg.Connection[Any], before: datetime) -> dict[int, dict[str, Sums]]:
    """Hours (unix ms) that have not changed since, and were not compared after their last change: sums by node."""
    rows = connection.execute(
        "SELECT hour, node, legs, leg_hash, (amount * 1000000)::bigint FROM audit_hours WHERE hour IN ("
        "  SELECT hour FROM audit_hours GROUP BY hour HAVING max(changed_at) < %s AND NOT bool_and(compared)"
        "  ORDER BY hour LIMIT %s)",
        (before, HOURS_A_RUN),
    ).fetchall()
    found: dict[int, dict[str, Sums]] = {}
    for hour, node, *sums in rows:
        found.setdefault(ms_of(hour), {})[node] = Sums(*sums)
    return found


def set_compared(connection: psycopg.Connection[Any], hours: Iterable[int]) -> None:
    """These hours are equal to the CDRs."""
    connection.execute(
        "UPDATE audit_hours SET compared = true WHERE hour = ANY (%s)", ([moment_of(hour) for hour in hours],)
    )


def record(
    connection: psycopg.Connection[Any],
    *,
    at: datetime,
    seconds: float,
    counts: Mapping[str, int],
    differences: Sequence[Difference],
    keep_days: int,
) -> None:
    """A run and what it found: what was open and is not found any more is resolved."""
    ok = not differences
    connection.execute(
        "INSERT INTO audit_runs (at, seconds, ok, rated, posted, compared, waiting, differences)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (at, seconds, ok, counts["rated"], counts["posted"], counts["compared"], counts["waiting"], len(differences)),
    )
    connection.execute("DELETE FROM audit_runs WHERE at < %s", (at - timedelta(days=keep_days),))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit_differences (kind, subject, detail, since, last_seen_at) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (kind, subject) WHERE resolved_at IS NULL"
            " DO UPDATE SET detail = excluded.detail, last_seen_at = excluded.last_seen_at",
            [(one.kind, one.subject, one.detail[:1000], moment_of(one.since_ms), at) for one in differences],
        )
    connection.execute(
        "UPDATE audit_differences SET resolved_at = %s WHERE resolved_at IS NULL AND last_seen_at < %s", (at, at)
    )


class LastRun(NamedTuple):
    """The newest run, and the differences that are open: kind, subject, detail, since."""

    at: datetime
    seconds: float
    ok: bool
    rated: int
    posted: int
    compared: int
    waiting: int
    differences: int
    open: list[dict[str, Any]]


def last_run(connection: psycopg.Connection[Any], most: int) -> LastRun | None:
    """The newest run with at most so many of its differences; None: there was none yet."""
    row = connection.execute(
        "SELECT at, seconds, ok, rated, posted, compared, waiting, differences FROM audit_runs ORDER BY at DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    rows = connection.execute(
        "SELECT kind, subject, detail, since FROM audit_differences WHERE resolved_at IS NULL"
        " ORDER BY since, subject LIMIT %s",
        (most,),
    ).fetchall()
    names = ("kind", "subject", "detail", "since")
    return LastRun._make([*row, [dict(zip(names, values, strict=True)) for values in rows]])


def moment_of(at_ms: int) -> datetime:
    """The moment of unix milliseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def ms_of(moment: datetime) -> int:
    """Unix milliseconds of a moment."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
