"""The shell of calls.py: decisions from ClickHouse, heartbeats, holds and what is open from PostgreSQL.

A decision is looked at once, some time after it was stored, when most calls have ended: what has no CDR by then is
kept in audit_open_calls until its inbound leg is in the ledger or a discarded dead letter. What has not ended is on its
node's heartbeat: only what is not is looked for in the ledger.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from clickhouse_connect.driver.client import Client

from sinks.audit.continuous.calls import NO_END, NOT_UP, Heard, Judged, OpenCall, Patience, judge, state_of
from sinks.audit.continuous.cdrs import time_text
from sinks.audit.continuous.store import moment_of, ms_of

FIRST_LOOK: Final = timedelta(hours=1)  # how far back an auditor begins that has not looked at decisions yet
OVERLAP: Final = timedelta(minutes=2)  # clocks of workers differ, and an insert may be on its way
_MAX_LATE: Final = timedelta(days=7)  # a decision that waited longer for Kafka is the whole audit's
MAX_LETTERED: Final = 1_000  # calls that are looked for among the dead letters in one run
MAX_DECISIONS: Final = 500
# An inbound leg begins just before its decision. Where clocks say otherwise the call is looked for in the ledger, as is
# all that this finds.
_UNCLOSED: Final = """
    WITH fresh AS (
        SELECT call_id, node, routed_at, stored_at FROM decisions
        WHERE reason = '' AND routed_at >= {oldest:DateTime64(3, 'UTC')}
          AND stored_at >= {first:DateTime64(3, 'UTC')} AND stored_at < {end:DateTime64(3, 'UTC')}
    )
    SELECT call_id, node, toUnixTimestamp64Milli(min(routed_at)), toUnixTimestamp64Milli(max(stored_at)) AS stored
    FROM fresh
    WHERE call_id NOT IN (
        SELECT call_id FROM legs
        WHERE leg = 0 AND start_time >= (SELECT min(routed_at) FROM fresh) - INTERVAL 2 MINUTE
          AND start_time <= (SELECT max(routed_at) FROM fresh) + INTERVAL 2 MINUTE
    )
    GROUP BY call_id, node ORDER BY stored LIMIT {most:UInt64}
"""
_HEARD: Final = "SELECT node, heard_at, calls FROM node_calls"
_HOLDS: Final = "SELECT call_id, node, admitted_at, gone_at FROM holds"
_OPEN: Final = "SELECT call_id, node, routed_at, missing_since FROM audit_open_calls"
_CLOSED: Final = """
    SELECT DISTINCT left(reference, -2) FROM ledger_entries
    WHERE reference = ANY (SELECT unnest(%s::text[]) || '/0')
"""
_LETTERS: Final = """
    SELECT call_id, state, leg_id, raw FROM unnest(%s::text[]) AS call_id
    JOIN dead_letters ON state <> 'replayed'
        AND (starts_with(leg_id, call_id || '/') OR position(convert_to(call_id, 'UTF8') IN raw) > 0)
"""
_WANTED: Final = """
    SELECT call_id, routed_at FROM audit_open_calls WHERE missing_since IS NOT NULL AND decision = ''
    ORDER BY missing_since LIMIT %s
"""
_DECISIONS: Final = """
    SELECT call_id, any(decision) FROM decisions
    WHERE routed_at >= {first:DateTime64(3, 'UTC')} AND routed_at <= {last:DateTime64(3, 'UTC')}
      AND call_id IN {calls:Array(String)}
    GROUP BY call_id
"""
_KEEP: Final = """
    INSERT INTO audit_open_calls (call_id, node, routed_at, missing_since)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
    ON CONFLICT (call_id) DO UPDATE SET missing_since = excluded.missing_since
"""


class Unclosed(NamedTuple):
    """Decisions without a CDR, and up to which moment of storing that was all."""

    calls: list[OpenCall]
    end: datetime


def unclosed_decisions(client: Client, decided_at: datetime | None, end: datetime, most: int) -> Unclosed:
    """What was stored between the last look and `end`, up to `most`. Raises what clickhouse-connect raises."""
    first = (end - FIRST_LOOK if decided_at is None else decided_at) - OVERLAP
    if most <= 0 or first >= end:
        return Unclosed([], first + OVERLAP)
    moments = {"oldest": time_text(first - _MAX_LATE), "first": time_text(first), "end": time_text(end)}
    rows = client.query(_UNCLOSED, parameters={**moments, "most": most}).result_rows
    calls = [OpenCall(NO_END, call_id, node, routed_ms) for call_id, node, routed_ms, _ in rows]
    # Cut off, the next run goes on behind the last of them; what was stored in the same moment it reads again.
    return Unclosed(calls, moment_of(rows[-1][3]) + OVERLAP if len(rows) == most else end)


def read_heard(connection: psycopg.Connection[Any]) -> dict[str, Heard]:
    """By node. Raises psycopg.Error."""
    return {node: Heard(ms_of(at), frozenset(calls)) for node, at, calls in connection.execute(_HEARD).fetchall()}


def read_holds(connection: psycopg.Connection[Any]) -> list[OpenCall]:
    """All open holds. Raises psycopg.Error.

    One that still counts while its node does not list the call is missing since ever: the agent notes both at once.
    """
    rows = connection.execute(_HOLDS).fetchall()
    return [
        OpenCall(NOT_UP, call_id, node, ms_of(admitted_at), ms_of(gone_at or admitted_at))
        for call_id, node, admitted_at, gone_at in rows
    ]


def judge_calls(
    connection: psycopg.Connection[Any], new: Sequence[OpenCall], now_ms: int, patience: Patience
) -> Judged:
    """Holds and admitted calls, judged; what has ended is forgotten, the others are kept. In a transaction."""
    heard = read_heard(connection)
    known = {
        call_id: OpenCall(NO_END, call_id, node, ms_of(at), None if since is None else ms_of(since))
        for call_id, node, at, since in connection.execute(_OPEN).fetchall()
    }
    fresh = [call for call in {one.call_id: one for one in new}.values() if call.call_id not in known]
    calls = {**known, **{call.call_id: call for call in fresh}}
    holds = read_holds(connection)
    doubtful = [one.call_id for one in (*calls.values(), *holds) if state_of(one, heard, now_ms, patience) != "up"]
    closed = closed_calls(connection, doubtful)
    lettered = lettered_calls(connection, [one for one in doubtful if one not in closed][:MAX_LETTERED])
    done = closed | {call_id for call_id, state in lettered.items() if state != "open"}
    going_on = [call for call_id, call in calls.items() if call_id not in done]
    # A hold of a call that is in the ledger has a difference of its own; an open letter names its call already.
    judged = judge(
        [one for one in (*going_on, *holds) if one.call_id not in closed and lettered.get(one.call_id) != "open"],
        heard, now_ms, patience,
    )  # fmt: skip
    _keep(connection, known, {call.call_id: call for call in going_on}, judged.missing)
    return judged


def keep_decisions(connection: psycopg.Connection[Any], client: Client) -> None:
    """The decisions of what is missing, for the agents: they close what went down with its node. In a transaction."""
    wanted = dict(connection.execute(_WANTED, (MAX_DECISIONS,)).fetchall())
    if not wanted:
        return
    moments = {"first": time_text(min(wanted.values())), "last": time_text(max(wanted.values()))}
    rows = client.query(_DECISIONS, parameters={**moments, "calls": sorted(wanted)}).result_rows
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE audit_open_calls SET decision = %s WHERE call_id = %s",
            [(decision, call_id) for call_id, decision in rows],
        )


def closed_calls(connection: psycopg.Connection[Any], call_ids: Sequence[str]) -> frozenset[str]:
    """Those whose inbound leg is in the ledger. Raises psycopg.Error."""
    if not call_ids:
        return frozenset()
    return frozenset(row[0] for row in connection.execute(_CLOSED, (list(call_ids),)).fetchall())


def lettered_calls(connection: psycopg.Connection[Any], call_ids: Sequence[str]) -> dict[str, str]:
    """Those that a dead letter is about: `open`, or `discarded` where none is open. Raises psycopg.Error."""
    found: dict[str, str] = {}
    if call_ids:
        for call_id, state, leg_id, raw in connection.execute(_LETTERS, (list(call_ids),)).fetchall():
            if found.get(call_id) != "open" and (leg_id.startswith(f"{call_id}/") or names(raw, call_id)):
                found[call_id] = state
    return found


def names(raw: bytes, call_id: str) -> bool:
    """Whether a text names just this call, and none whose id only begins so."""
    return re.search(re.escape(call_id.encode()) + rb"(?![0-9.])", raw) is not None


def _keep(
    connection: psycopg.Connection[Any],
    known: Mapping[str, OpenCall],
    calls: Mapping[str, OpenCall],
    missing: Mapping[str, int],
) -> None:
    """Replace what was kept by these calls, each with the moment since which it is missing."""
    if gone := sorted(known.keys() - calls.keys()):
        connection.execute("DELETE FROM audit_open_calls WHERE call_id = ANY (%s)", (gone,))
    changed = [
        call._replace(missing_ms=missing.get(call_id))
        for call_id, call in calls.items()
        if call_id not in known or known[call_id].missing_ms != missing.get(call_id)
    ]
    if changed:
        connection.execute(_KEEP, _columns(changed))


def _columns(calls: Iterable[OpenCall]) -> tuple[list[Any], ...]:
    rows = [
        (
            call.call_id, call.node, moment_of(call.admitted_at_ms),
            None if call.missing_ms is None else moment_of(call.missing_ms),
        )
        for call in calls
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))
