"""What the controller reads from PostgreSQL and keeps there: controls, what is in force, destinations of customers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from streams.folds.behaviour import HISTORY_MS, Seen
from streams.folds.controls import Control, Known, OriginationControl, Scope, TerminationControl

_TERMINATION: Final = """
    SELECT termination_control_id AS control_id, name, coalesce(peer_id, 0) AS peer_id, scope, code_prefix, metric,
           (threshold * 100)::bigint AS threshold_e2, checks, check_seconds, window_seconds, minimum_sample, action,
           release_minutes, most_actions, notify
    FROM termination_controls WHERE enabled ORDER BY 1
"""
_ORIGINATION: Final = """
    SELECT origination_control_id AS control_id, name, coalesce(peer_id, 0) AS peer_id, measure,
           (threshold * 1000000)::bigint AS threshold_e6, timetable, time_zone,
           (timetable_threshold * 1000000)::bigint AS timetable_e6, window_seconds, check_seconds, action,
           cap_concurrent, release_minutes, most_actions, notify
    FROM origination_controls WHERE enabled ORDER BY 1
"""
# Of what was released only the last two hours can matter: no window is longer.
_KNOWN: Final = """
    SELECT kind, control_id, peer_id, code, bool_or(released_at IS NULL),
           (extract(epoch FROM max(released_at)) * 1000)::bigint
    FROM control_actions WHERE released_at IS NULL OR released_at > now() - interval '3 hours'
    GROUP BY kind, control_id, peer_id, code
"""
_SEEN: Final = """
    SELECT peer_id, destination_id, (extract(epoch FROM first_at) * 1000)::bigint,
           (extract(epoch FROM last_at) * 1000)::bigint
    FROM customer_destinations ORDER BY last_at DESC LIMIT %s
"""
_KEEP: Final = """
    INSERT INTO customer_destinations (peer_id, destination_id, first_at, last_at)
    SELECT peer_id, destination_id, to_timestamp(first_ms / 1000.0), to_timestamp(last_ms / 1000.0)
    FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[]) AS seen (peer_id, destination_id, first_ms, last_ms)
         JOIN peers USING (peer_id)
    ON CONFLICT (peer_id, destination_id) DO UPDATE SET first_at = excluded.first_at, last_at = excluded.last_at
"""


def read_controls(connection: psycopg.Connection[Any]) -> list[Control]:
    """All controls that are enabled."""
    with connection.cursor(row_factory=dict_row) as cursor:
        termination = [TerminationControl(**row) for row in cursor.execute(_TERMINATION)]
        return [*termination, *(OriginationControl(**row) for row in cursor.execute(_ORIGINATION))]


def read_known(connection: psycopg.Connection[Any]) -> dict[tuple[str, int], Known]:
    """What is in force and what was released lately, of each control by (kind, id)."""
    in_force: dict[tuple[str, int], set[Scope]] = {}
    released: dict[tuple[str, int], dict[Scope, int]] = {}
    for kind, control_id, peer_id, code, holds, released_ms in connection.execute(_KNOWN):
        key, scope = (kind, control_id), Scope(peer_id, code)
        if holds:
            in_force.setdefault(key, set()).add(scope)
        if released_ms is not None:
            released.setdefault(key, {})[scope] = released_ms
    keys = in_force.keys() | released.keys()
    return {key: Known(frozenset(in_force.get(key, ())), released.get(key, {})) for key in keys}


def read_destinations(connection: psycopg.Connection[Any], most: int) -> dict[tuple[int, int], Seen]:
    """Who has called which destination, and when."""
    return {(row[0], row[1]): Seen(row[2], row[3]) for row in connection.execute(_SEEN, (most,))}


def keep_destinations(connection: psycopg.Connection[Any], seen: Mapping[tuple[int, int], Seen]) -> None:
    """Write what has changed, and sweep what is forgotten."""
    columns: Sequence[list[int]] = (
        [peer_id for peer_id, _ in seen],
        [destination_id for _, destination_id in seen],
        [one.first_ms for one in seen.values()],
        [one.last_ms for one in seen.values()],
    )
    connection.execute(_KEEP, columns)
    connection.execute(
        "DELETE FROM customer_destinations WHERE last_at < now() - make_interval(secs => %s)", (HISTORY_MS / 1000,)
    )
