"""Holds: money and a place for a call that is about to be routed, extended while it goes on.

The rules are SQL functions (schemas/postgres/0003_holds.sql), one statement each: any number of routers and nodes
may call them at once. Release happens with the posting of the inbound leg (sinks/ledger.py), by call_id alone.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg

from schemas.money import decimal_from_micros


class Outcome(StrEnum):
    """What admission says."""

    ADMITTED = "ADMITTED"
    NO_BALANCE = "NO BALANCE"
    LIMIT = "LIMIT"
    NO_ACCOUNT = "NO ACCOUNT"


class Hold(NamedTuple):
    """What is asked for a call. Amounts in micros of the account's currency; limits of 0 are none.

    `amount_micros` pays for the first `covered_seconds` of talk, each further `quantum_micros` for `quantum_seconds`.
    """

    call_id: str
    node: str
    peer_id: int
    account_id: int
    amount_micros: int
    covered_seconds: int
    quantum_micros: int
    quantum_seconds: int
    max_concurrent: int
    max_cps: int
    started_at_ms: int
    expires_at_ms: int


class Admission(NamedTuple):
    """The answer: `free_micros` is what the account could spend before this hold."""

    outcome: Outcome
    free_micros: int


_ADMIT = "SELECT outcome, free FROM admit(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


async def admit(connection: psycopg.AsyncConnection[Any], hold: Hold) -> Admission:
    """Hold money and a place for the call, or say why not; asking again gives the same answer. Raises psycopg.Error."""
    cursor = await connection.execute(
        _ADMIT,
        (
            hold.call_id, hold.node, hold.peer_id, hold.account_id, decimal_from_micros(hold.amount_micros),
            hold.covered_seconds, decimal_from_micros(hold.quantum_micros), hold.quantum_seconds,
            hold.max_concurrent, hold.max_cps, _moment(hold.started_at_ms), _moment(hold.expires_at_ms),
        ),
    )  # fmt: skip
    row = await cursor.fetchone()
    if row is None:
        raise psycopg.InternalError("admit() answered no row")
    return Admission(Outcome(row[0]), _floor_micros(row[1]))


def extend(connection: psycopg.Connection[Any], talk_seconds: Mapping[str, int], margin_seconds: int) -> list[str]:
    """Extend the holds of calls that go on (call_id: seconds of talk so far) to cover `margin_seconds` more.

    Out: the calls that their account cannot pay further.
    """
    calls = sorted(talk_seconds)
    cursor = connection.execute(
        "SELECT extend_holds(%s::text[], %s::int[], %s)",
        (calls, [talk_seconds[call] for call in calls], margin_seconds),
    )
    return [row[0] for row in cursor.fetchall()]


def uncount(connection: psycopg.Connection[Any], call_ids: Sequence[str]) -> int:
    """Calls that were seen to end no longer count as concurrent. Out: how many still did."""
    return _number(connection.execute("SELECT uncount_calls(%s::text[])", (list(call_ids),)))


def uncount_missing(
    connection: psycopg.Connection[Any], node: str, live_call_ids: Sequence[str], before_ms: int
) -> int:
    """Correct the counters by a node's heartbeat: calls admitted before `before_ms` that are not up are not counted."""
    cursor = connection.execute(
        "SELECT uncount_missing(%s, %s::text[], %s)", (node, list(live_call_ids), _moment(before_ms))
    )
    return _number(cursor)


def _number(cursor: psycopg.Cursor[Any]) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def _floor_micros(free: Decimal | None) -> int:
    return 0 if free is None else int(free.scaleb(6).to_integral_value(rounding="ROUND_FLOOR"))
