"""Holds on the real PostgreSQL: admitted once, never overspent, never above a limit, given back whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from small_world import SmallWorld, make_small_world

from sinks.holds import Admission, Hold, Outcome, admit, extend, uncount, uncount_missing

pytestmark = pytest.mark.servers
START_MS = 1_795_609_900_000


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def asynchronous(postgres_dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def hold(world: SmallWorld, number: int = 1, **changes: Any) -> Hold:
    values: dict[str, Any] = {
        "call_id": f"ast1-1795609861-1795609900.{number}", "node": "ast1", "peer_id": world.originator,
        "account_id": world.customer_account, "amount_micros": 60_000, "covered_seconds": 60,
        "quantum_micros": 30_000, "quantum_seconds": 30, "max_concurrent": 0, "max_cps": 0,
        "started_at_ms": START_MS, "expires_at_ms": START_MS + 4 * 3_600_000, **changes,
    }  # fmt: skip
    return Hold(**values)


def state(connection: psycopg.Connection[Any], world: SmallWorld) -> tuple[Decimal, Decimal, int, int]:
    """(held, Σ holds, concurrent, holds)"""
    row = connection.execute(
        "SELECT held, (SELECT coalesce(sum(amount), 0) FROM holds), "
        "coalesce((SELECT concurrent FROM peer_counters WHERE peer_id = %s), 0), (SELECT count(*) FROM holds) "
        "FROM account_balances WHERE account_id = %s",
        (world.originator, world.customer_account),
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


async def test_a_hold_is_placed_once_and_given_back(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("1.5"))
    for _ in range(3):  # asking again changes nothing and answers the same
        assert await admit(asynchronous, hold(world)) == Admission(Outcome.ADMITTED, 1_500_000)
        assert state(connection, world) == (Decimal("0.06"), Decimal("0.06"), 1, 1)
    for _ in range(2):
        connection.execute("SELECT release_holds(%s)", ([hold(world).call_id],))
        assert state(connection, world) == (0, 0, 0, 0)


async def test_what_is_refused_changes_nothing(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.1"))
    assert (await admit(asynchronous, hold(world, 1, amount_micros=100_001))).outcome is Outcome.NO_BALANCE
    assert (await admit(asynchronous, hold(world, 1, account_id=999_999))).outcome is Outcome.NO_ACCOUNT
    assert state(connection, world) == (0, 0, 0, 0)
    assert (await admit(asynchronous, hold(world, 2, max_concurrent=1))).outcome is Outcome.ADMITTED
    assert (await admit(asynchronous, hold(world, 3, max_concurrent=1, amount_micros=0))).outcome is Outcome.LIMIT
    assert state(connection, world) == (Decimal("0.06"), Decimal("0.06"), 1, 1)


async def test_calls_a_second_are_counted_by_the_calls_own_clock(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal(100))

    async def at(number: int, second: int) -> Outcome:
        moment_ms = START_MS + 1000 * second
        return (await admit(asynchronous, hold(world, number, max_cps=2, started_at_ms=moment_ms))).outcome

    assert [await at(1, 0), await at(2, 0), await at(3, 0)] == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.LIMIT]
    assert [await at(4, 1), await at(5, 0), await at(6, 1)] == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.LIMIT]
    # A clock that was an hour ahead does not refuse for an hour.
    assert [await at(7, 3600), await at(8, 2)] == [Outcome.ADMITTED, Outcome.ADMITTED]


async def test_200_calls_at_once_on_an_account_that_affords_20(
    connection: psycopg.Connection[Any], postgres_dsn: str
) -> None:
    world = make_small_world(connection, balance=Decimal("1.0"), credit_limit=Decimal("0.2"))

    async def caller(numbers: range) -> list[Outcome]:
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as own:
            return [(await admit(own, hold(world, number))).outcome for number in numbers]

    answers = await asyncio.gather(*(caller(range(first, first + 10)) for first in range(0, 200, 10)))
    outcomes = [outcome for answer in answers for outcome in answer]
    assert outcomes.count(Outcome.ADMITTED) == 20
    assert outcomes.count(Outcome.NO_BALANCE) == 180
    assert state(connection, world) == (Decimal("1.2"), Decimal("1.2"), 20, 20)


async def test_a_limit_holds_under_a_race(connection: psycopg.Connection[Any], postgres_dsn: str) -> None:
    world = make_small_world(connection, balance=Decimal(100))

    async def caller(numbers: range) -> list[Outcome]:
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as own:
            return [(await admit(own, hold(world, number, max_concurrent=7))).outcome for number in numbers]

    answers = await asyncio.gather(*(caller(range(first, first + 5)) for first in range(0, 50, 5)))
    assert [outcome for answer in answers for outcome in answer].count(Outcome.ADMITTED) == 7


async def test_a_hold_is_extended_while_there_is_money(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.13"))
    call_id = hold(world).call_id
    await admit(asynchronous, hold(world))
    assert extend(connection, {call_id: 10}, 15) == []
    assert state(connection, world)[0] == Decimal("0.06")  # 60 s cover 25 s
    assert extend(connection, {call_id: 46}, 15) == []
    assert state(connection, world)[:2] == (Decimal("0.09"), Decimal("0.09"))
    assert extend(connection, {call_id: 100, "unknown": 5}, 15) == []
    assert state(connection, world)[:2] == (Decimal("0.12"), Decimal("0.12"))
    assert extend(connection, {call_id: 110}, 15) == [call_id]
    assert state(connection, world)[:2] == (Decimal("0.12"), Decimal("0.12"))


async def test_a_call_that_was_seen_to_end_gives_its_place_and_keeps_its_money(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal(1))
    for number in (1, 2, 3):
        await admit(asynchronous, hold(world, number))
    calls = [hold(world, number).call_id for number in (1, 2, 3)]
    assert uncount(connection, [calls[0], "unknown"]) == 1
    assert uncount(connection, [calls[0]]) == 0
    assert state(connection, world) == (Decimal("0.18"), Decimal("0.18"), 2, 3)
    # The heartbeat lists call 2 only; call 3 is too young for it to judge, then it is not.
    assert uncount_missing(connection, "ast1", [calls[1]], START_MS) == 0
    assert uncount_missing(connection, "ast2", [], START_MS + 10_000) == 0
    assert uncount_missing(connection, "ast1", [calls[1]], START_MS + 10_000) == 1
    assert state(connection, world)[2] == 1
    connection.execute("SELECT release_holds(%s)", (calls,))
    assert state(connection, world) == (0, 0, 0, 0)
