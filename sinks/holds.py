"""Holds: money and a place for a call that is about to be routed, extended while it goes on.

The rules are SQL functions (schemas/postgres/functions), one statement each: any number of routers and nodes may call
them at once, and a repeat of any of them changes nothing. Release happens with the posting of the inbound leg
(sinks/ledger.py), by call_id alone; what no leg will ever release is swept.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

import psycopg

from schemas.facts import Facts
from schemas.ids import started_seconds_of
from schemas.money import decimal_from_micros, decimal_from_price_e8, micros_from_decimal
from tariffs.rating import billed_seconds


class Outcome(StrEnum):
    """What admission says."""

    ADMITTED = "ADMITTED"
    NO_BALANCE = "NO BALANCE"
    LIMIT = "LIMIT"
    NO_ACCOUNT = "NO ACCOUNT"
    NODE_SILENT = "NODE SILENT"  # prepaid, and no agent has been heard of that could cut the call
    REPEATED = "REPEATED"  # the call is held already: a session is good once
    ENDED = "ENDED"  # asked too late: the call is over and billed


class Terms(NamedTuple):
    """How billed seconds of one call become money. `price_e8` per minute in 10⁻⁸, the fee in micros."""

    price_e8: int
    connect_fee_micros: int
    minimum_seconds: int
    increment_seconds: int
    rounding_decimals: int


class CallLimit(NamedTuple):
    """A limit that a call counts in, by its key (router/core/limit_keys.py); 0: none."""

    key: str
    max_concurrent: int
    max_cps: int


class Hold(NamedTuple):
    """What is asked for a call. `limits` are sorted by key: everybody locks their counters in one order.

    The account pays ahead for `first_seconds` of talk as they are billed, or for what it can, down to `least_seconds`;
    while the call goes on, for `quantum_seconds` more at a time.
    """

    call_id: str
    node: str
    peer_id: int
    account_id: int
    first_seconds: int
    least_seconds: int
    quantum_seconds: int
    terms: Terms
    limits: tuple[CallLimit, ...]
    started_at_ms: int
    expires_at_ms: int


class Admission(NamedTuple):
    """The answer. `free_micros`: what the account could spend before this hold; None: its money is not asked."""

    outcome: Outcome
    free_micros: int | None
    held_micros: int


class Unheld(NamedTuple):
    """A call that goes on without a hold, by its own FACTS."""

    call_id: str
    facts: Facts
    talk_seconds: int


class Swept(NamedTuple):
    """A hold that was given back without its call's end."""

    call_id: str
    account_id: int
    amount_micros: int
    why: str


# Typed, for all values are given as texts. By number for libpq, which routers ask by; the other for a cursor.
ADMIT: Final = (
    "SELECT outcome, free, held_amount FROM admit($1::text, $2::text, $3::int, $4::int, $5::int, $6::int, $7::int,"
    " $8::numeric, $9::numeric, $10::int, $11::int, $12::int, $13::text[], $14::int[], $15::int[], $16::timestamptz,"
    " $17::timestamptz)"
)
ADMIT_ONCE: Final = re.sub(r"\$[0-9]+", "%s", ADMIT)


def terms_of(facts: Facts) -> Terms:
    """The terms that the inbound leg's FACTS carry."""
    return Terms(
        facts.price_e8,
        facts.connect_fee_micros,
        facts.minimum_seconds,
        facts.increment_seconds,
        facts.rounding_decimals,
    )


def seconds_to_hold(facts: Facts, seconds: int) -> int:
    """`seconds` of talk as they are billed; free seconds that are passed are billed whole, so no less than those."""
    return billed_seconds(max(seconds, facts.free_seconds + 1), facts.minimum_seconds, facts.increment_seconds, 0)


async def admit(connection: psycopg.AsyncConnection[Any], hold: Hold) -> Admission:
    """Hold money and a place for the call, or say why not; asking again changes nothing. Raises psycopg.Error."""
    cursor = await connection.execute(ADMIT_ONCE, admit_values(hold))
    row = await cursor.fetchone()
    return admission_of(tuple(None if value is None else str(value) for value in row or ()))


def admit_values(hold: Hold) -> list[str]:
    """What ADMIT is given."""
    terms, limits = hold.terms, hold.limits
    return [
        hold.call_id, hold.node, str(hold.peer_id), str(hold.account_id), str(hold.first_seconds),
        str(hold.least_seconds), str(hold.quantum_seconds), f"{terms.price_e8}e-8", f"{terms.connect_fee_micros}e-6",
        str(terms.minimum_seconds), str(terms.increment_seconds), str(terms.rounding_decimals),
        "{" + ",".join([limit.key for limit in limits]) + "}",
        "{" + ",".join([str(limit.max_concurrent) for limit in limits]) + "}",
        "{" + ",".join([str(limit.max_cps) for limit in limits]) + "}",
        _moment(hold.started_at_ms).isoformat(), _moment(hold.expires_at_ms).isoformat(),
    ]  # fmt: skip


def admission_of(row: tuple[str | None, ...]) -> Admission:
    """What ADMIT answers. Raises psycopg.InternalError where that is nothing."""
    outcome, free, held = row if len(row) == 3 else (None, None, None)
    if outcome is None:
        raise psycopg.InternalError("admit() answered no row")
    held_micros = 0 if held is None else micros_from_decimal(Decimal(held))
    return Admission(Outcome(outcome), None if free is None else micros_from_decimal(Decimal(free)), held_micros)


def extend(connection: psycopg.Connection[Any], talk_seconds: Mapping[str, int], margin_seconds: int) -> dict[str, int]:
    """Extend the holds of calls that go on (call_id: seconds of talk so far) to cover `margin_seconds` more.

    Out: the calls that their account cannot pay so far, each with the second of talk at which its money ends.
    """
    calls = sorted(talk_seconds)
    cursor = connection.execute(
        "SELECT unpaid_call, paid_until FROM extend_holds(%s::text[], %s::int[], %s)",
        (calls, [talk_seconds[call] for call in calls], margin_seconds),
    )
    return dict(cursor.fetchall())


def uncount(connection: psycopg.Connection[Any], call_ids: Sequence[str]) -> int:
    """Calls that were seen to end no longer count as concurrent. Out: how many still did."""
    return _number(connection.execute("SELECT uncount_calls(%s::text[])", (list(call_ids),)))


def uncount_missing(
    connection: psycopg.Connection[Any], node: str, live_call_ids: Sequence[str], before_ms: int
) -> int:
    """Correct the counters by a node's heartbeat: calls admitted before `before_ms` that are not up are not counted.

    Those that are up are counted, also where the node was thought to be dead. Out: how many are not counted any more.
    """
    cursor = connection.execute(
        "SELECT uncount_missing(%s, %s::text[], %s)", (node, list(live_call_ids), _moment(before_ms))
    )
    return _number(cursor)


def without_hold(connection: psycopg.Connection[Any], call_ids: Sequence[str]) -> frozenset[str]:
    """Those of the calls that have no hold."""
    cursor = connection.execute(
        "SELECT call_id FROM unnest(%s::text[]) AS call_id WHERE NOT EXISTS"
        " (SELECT FROM holds WHERE holds.call_id = call_id.call_id)",
        (list(call_ids),),
    )
    return frozenset(row[0] for row in cursor.fetchall())


def place(
    connection: psycopg.Connection[Any], node: str, calls: Sequence[Unheld], quantum_seconds: int, margin_seconds: int
) -> list[str]:
    """Hold and count calls that go on without a hold, whatever their accounts have. Out: those that it was done for."""
    wanted = [
        {
            "call_id": call.call_id,
            "peer_id": call.facts.customer_peer_id,
            "account_id": call.facts.account_id,
            "covered_seconds": seconds_to_hold(call.facts, max(quantum_seconds, call.talk_seconds + margin_seconds)),
            "quantum_seconds": quantum_seconds,
            "price": str(decimal_from_price_e8(call.facts.price_e8)),
            "connect_fee": str(decimal_from_micros(call.facts.connect_fee_micros)),
            "minimum_seconds": call.facts.minimum_seconds,
            "increment_seconds": call.facts.increment_seconds,
            "rounding_decimals": call.facts.rounding_decimals,
            "started_at_seconds": started_seconds_of(call.call_id),
            "callee": call.facts.callee,
        }
        for call in calls
    ]
    cursor = connection.execute("SELECT place_holds(%s, %s::jsonb)", (node, json.dumps(wanted)))
    return [row[0] for row in cursor.fetchall()]


def long_gone(connection: psycopg.Connection[Any], node: str, seconds: float, limit: int) -> list[str]:
    """Calls of the node, up to `limit`, that no heartbeat has listed for so long and that are held all the same."""
    cursor = connection.execute(
        "SELECT call_id FROM holds WHERE node = %s AND NOT counted"
        " AND gone_at < clock_timestamp() - make_interval(secs => %s) ORDER BY gone_at LIMIT %s",
        (node, seconds, limit),
    )
    return [row[0] for row in cursor.fetchall()]


def sweep(
    connection: psycopg.Connection[Any],
    node: str,
    agent_id: str,
    live_call_ids: Sequence[str],
    never_ended: Sequence[str],
    before_ms: int,
) -> list[Swept]:
    """Give back what has expired, and what is held for `never_ended`; never for a call that is up (`live_call_ids`)."""
    cursor = connection.execute(
        "SELECT call_id, account_id, amount, why FROM sweep_holds(%s, %s, %s::text[], %s::text[], %s)",
        (node, agent_id, list(live_call_ids), list(never_ended), _moment(before_ms)),
    )
    return [Swept(call, account, micros_from_decimal(amount), why) for call, account, amount, why in cursor.fetchall()]


def _number(cursor: psycopg.Cursor[Any]) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
