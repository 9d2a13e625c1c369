"""Holds on the real PostgreSQL: admitted once, never overspent, never above a limit, given back whole."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from small_world import SmallWorld, make_small_world

from schemas.events import CallEnded
from schemas.facts import Facts
from sinks.holds import (
    Admission,
    CallLimit,
    Hold,
    Outcome,
    Terms,
    Unheld,
    admit,
    extend,
    long_gone,
    place,
    sweep,
    uncount,
    uncount_missing,
    without_hold,
)
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg
from tariffs.rating import affordable_seconds, billed_seconds, rate

pytestmark = pytest.mark.servers
START_MS = 1_795_609_900_000
LONG_AFTER_MS = START_MS + 10**9
CENTS_6 = Terms(6_000_000, 0, 0, 1, 6)  # a minute: a thousandth a second


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
        "account_id": world.customer_account, "first_seconds": 60, "least_seconds": 1, "quantum_seconds": 30,
        "terms": CENTS_6,
        "started_at_ms": START_MS, "expires_at_ms": LONG_AFTER_MS + 4 * 3_600_000, **changes,
    }  # fmt: skip
    most = values.pop("max_concurrent", 0), values.pop("max_cps", 0)
    values.setdefault("limits", (CallLimit(f"p{values['peer_id']}", *most),))
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


def facts_of(world: SmallWorld, **changes: Any) -> Facts:
    values: dict[str, Any] = {
        "side": "receivable", "generation": 1, "customer_company_id": 1, "customer_peer_id": world.originator,
        "vendor_company_id": 0, "vendor_peer_id": 0, "account_id": world.customer_account, "currency": "USD",
        "code": "44", "price_id": 1, "destination_id": 0, "price_e8": 6_000_000, "connect_fee_micros": 0,
        "minimum_seconds": 0, "increment_seconds": 1, "free_seconds": 0, "rounding_decimals": 6,
        "duration_rounding": "up", "caller": "", "callee": "447700900123", **changes,
    }  # fmt: skip
    return Facts(**values)


def ended(world: SmallWorld, number: int = 1, talk_ms: int = 10_000, **changes: Any) -> CallEnded:
    """The end of the call that `hold` holds money for."""
    call_id = hold(world, number).call_id
    return CallEnded(
        event_id=f"{call_id}/0:call_ended", call_id=call_id, call_started_at_ms=START_MS, started_at_ms=START_MS,
        answered_at_ms=START_MS + 1_000, ended_at_ms=START_MS + 1_000 + talk_ms, duration_ms=talk_ms,
        asterisk_duration_ms=talk_ms, clock_disagreement=False, pdd_ms=500, dial_status="ANSWER", cause=16,
        release_side="caller", legs=0, reason="", caller_dialled="", callee_dialled="", endpoint="", remote_address="",
        facts=facts_of(world, **changes), last_facts=None,
    )  # fmt: skip


def make_prepaid(connection: psycopg.Connection[Any], world: SmallWorld) -> None:
    connection.execute(
        "UPDATE accounts SET payment = 'prepaid', credit_limit = 0 WHERE account_id = %s", (world.customer_account,)
    )


TERMS = st.builds(
    Terms,
    price_e8=st.one_of(st.integers(0, 10**9), st.integers(0, 9_999_999_999_999)),
    connect_fee_micros=st.integers(0, 10**6),
    minimum_seconds=st.sampled_from([0, 1, 6, 30, 60, 3600]),
    increment_seconds=st.sampled_from([1, 6, 7, 30, 60]),
    rounding_decimals=st.integers(0, 6),
)


@given(TERMS, st.integers(1, 86_400), st.integers(-1_000, 10**12), st.integers(0, 120))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_databases_money_is_the_rating_functions(
    connection: psycopg.Connection[Any], terms: Terms, seconds: int, budget_micros: int, free_seconds: int
) -> None:
    world = SmallWorld(1, 1, 1, 1)
    facts = facts_of(world, free_seconds=free_seconds, **terms._asdict())
    price, fee = Decimal(terms.price_e8).scaleb(-8), Decimal(terms.connect_fee_micros).scaleb(-6)
    grid = terms.minimum_seconds, terms.increment_seconds
    row = connection.execute(
        "SELECT billed_up(%s, %s, %s), paid_seconds(%s, %s, %s, %s, %s, %s)",
        (seconds, *grid, Decimal(budget_micros).scaleb(-6), price, fee, *grid, terms.rounding_decimals),
    ).fetchone()
    assert row is not None
    billed, paid = row
    assert billed == billed_seconds(seconds, *grid, 0)

    def cost(of_seconds: int) -> Decimal:
        found = connection.execute(
            "SELECT talk_price(%s, %s, %s, %s)", (of_seconds, price, fee, terms.rounding_decimals)
        ).fetchone()
        assert found is not None
        return Decimal(found[0])

    bill = rate(facts, max(seconds, free_seconds + 1) * 1000, True)
    assert cost(bill.billed_seconds) == Decimal(bill.amount_micros).scaleb(-6)
    # What a budget buys, as admission works out the longest call, where that is within a call's longest.
    longest = affordable_seconds(facts, budget_micros, 86_400)
    least = billed_seconds(free_seconds + 1, *grid, 0)
    assert (paid >= least) == (longest > 0), (paid, least, longest)
    if 0 < longest < 86_400 and longest > free_seconds:
        assert paid == longest
    if 0 <= paid < 900_000:
        assert cost(paid) <= Decimal(budget_micros).scaleb(-6) < cost(paid + terms.increment_seconds)


async def test_a_hold_is_placed_once_and_given_back(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("1.5"))
    for number in range(3):  # asking again changes nothing, and is told nothing
        wanted = Admission(Outcome.REPEATED, None, 0) if number else Admission(Outcome.ADMITTED, 1_500_000, 60_000)
        assert await admit(asynchronous, hold(world)) == wanted
        assert state(connection, world) == (Decimal("0.06"), Decimal("0.06"), 1, 1)
    for _ in range(2):
        connection.execute("SELECT release_holds(%s)", ([hold(world).call_id],))
        assert state(connection, world) == (0, 0, 0, 0)


async def test_an_admission_that_comes_after_the_calls_end_changes_nothing(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("1.5"))
    await Ledger(asynchronous).post([rate_leg(ended(world))])
    assert (await admit(asynchronous, hold(world))).outcome is Outcome.ENDED
    assert place(connection, "ast1", [Unheld(hold(world).call_id, facts_of(world), 5)], 60, 20) == []
    assert state(connection, world) == (0, 0, 0, 0)
    assert (await admit(asynchronous, hold(world, 2))).outcome is Outcome.ADMITTED


async def test_a_hold_that_came_after_the_bill_is_swept(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    """Within half a second of the call's start admission does not look into the ledger: the sweep does."""
    world = make_small_world(connection, balance=Decimal("1.5"))
    now_ms = time.time_ns() // 1_000_000
    await Ledger(asynchronous).post([rate_leg(structs.replace(ended(world), call_started_at_ms=now_ms))])
    assert (await admit(asynchronous, hold(world, started_at_ms=now_ms))).outcome is Outcome.ADMITTED
    assert sweep(connection, "ast1", "agent-1", [], [], LONG_AFTER_MS) == []
    uncount(connection, [hold(world).call_id])
    assert sweep(connection, "ast1", "agent-1", [hold(world).call_id], [], LONG_AFTER_MS) == []
    assert [one.why for one in sweep(connection, "ast1", "agent-1", [], [], LONG_AFTER_MS)] == ["billed already"]
    assert state(connection, world) == (0, 0, 0, 0)


async def test_what_is_refused_changes_nothing(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.1"))
    dear = Terms(10_000_200, 0, 60, 1, 6)  # its first minute alone is more than there is
    refused = await admit(asynchronous, hold(world, 1, terms=dear, least_seconds=60))
    assert refused == Admission(Outcome.NO_BALANCE, 100_000, 100_002) or refused.outcome is Outcome.NO_BALANCE
    assert (await admit(asynchronous, hold(world, 1, account_id=999_999))).outcome is Outcome.NO_ACCOUNT
    assert state(connection, world) == (0, 0, 0, 0)
    assert (await admit(asynchronous, hold(world, 2, max_concurrent=1))).outcome is Outcome.ADMITTED
    assert (await admit(asynchronous, hold(world, 3, max_concurrent=1))).outcome is Outcome.LIMIT
    assert state(connection, world) == (Decimal("0.06"), Decimal("0.06"), 1, 1)


async def test_less_than_a_quantum_is_held_whole(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.0405"))
    assert await admit(asynchronous, hold(world)) == Admission(Outcome.ADMITTED, 40_500, 40_000)
    row = connection.execute("SELECT amount, covered_seconds FROM holds").fetchone()
    assert row == (Decimal("0.04"), 40)
    assert (await admit(asynchronous, hold(world, 2))).outcome is Outcome.NO_BALANCE  # half a second is none


async def test_prepaid_needs_somebody_who_could_cut_the_call(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal(1))
    make_prepaid(connection, world)

    async def outcome(number: int) -> Outcome:
        return (await admit(asynchronous, hold(world, number))).outcome

    assert await outcome(1) is Outcome.NODE_SILENT  # never seen
    connection.execute("INSERT INTO nodes (name) VALUES ('ast1')")
    assert await outcome(1) is Outcome.NODE_SILENT
    for seconds, wanted in ((16, Outcome.NODE_SILENT), (13, Outcome.ADMITTED)):
        connection.execute("UPDATE nodes SET last_seen_at = clock_timestamp() - make_interval(secs => %s)", (seconds,))
        assert await outcome(1) is wanted
    connection.execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour'")
    assert await outcome(1) is Outcome.REPEATED
    assert await outcome(2) is Outcome.NODE_SILENT
    connection.execute("UPDATE accounts SET payment = 'postpaid'")
    assert await outcome(2) is Outcome.ADMITTED


async def test_an_account_without_holds_is_counted_and_its_money_not_asked(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal(0))
    connection.execute("UPDATE accounts SET hold = false WHERE account_id = %s", (world.customer_account,))
    for outcome in (Outcome.ADMITTED, Outcome.REPEATED):
        answer = await admit(asynchronous, hold(world, 1, max_concurrent=2))
        assert answer == Admission(outcome, None, 0)
    assert (await admit(asynchronous, hold(world, 2, max_concurrent=2))).outcome is Outcome.ADMITTED
    assert (await admit(asynchronous, hold(world, 3, max_concurrent=2))).outcome is Outcome.LIMIT
    assert extend(connection, {hold(world, 1).call_id: 80_000}, 20) == {}
    assert state(connection, world) == (0, 0, 2, 2)
    await Ledger(asynchronous).post([rate_leg(ended(world))])
    assert state(connection, world) == (0, 0, 1, 1)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE accounts SET payment = 'prepaid' WHERE account_id = %s", (world.customer_account,))


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


async def test_a_hold_is_extended_while_there_is_money_and_then_to_its_last_second(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.1309"))
    call_id = hold(world).call_id
    await admit(asynchronous, hold(world))
    assert extend(connection, {call_id: 10}, 15) == {}
    assert state(connection, world)[0] == Decimal("0.06")  # 60 s cover 25 s
    for _ in range(2):  # a repeat changes nothing
        assert extend(connection, {call_id: 46}, 15) == {}
        assert state(connection, world)[:2] == (Decimal("0.09"), Decimal("0.09"))
    assert extend(connection, {call_id: 100, "unknown": 5}, 15) == {}
    assert state(connection, world)[:2] == (Decimal("0.12"), Decimal("0.12"))
    for _ in range(2):
        assert extend(connection, {call_id: 110}, 15) == {}  # not a quantum: ten seconds more
        assert state(connection, world)[:2] == (Decimal("0.13"), Decimal("0.13"))
    for _ in range(2):
        assert extend(connection, {call_id: 120}, 15) == {call_id: 130}  # there the money ends
        assert state(connection, world)[:2] == (Decimal("0.13"), Decimal("0.13"))
    connection.execute("UPDATE account_balances SET balance = balance + 1")
    assert extend(connection, {call_id: 125}, 15) == {}
    assert state(connection, world)[:2] == (Decimal("0.16"), Decimal("0.16"))


async def test_an_extension_keeps_to_what_can_be_billed(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.1309"))
    terms = Terms(6_000_000, 1_000, 30, 6, 3)  # 30/6, a connect fee
    call_id = hold(world).call_id
    await admit(asynchronous, hold(world, first_seconds=60, least_seconds=30, terms=terms))
    assert state(connection, world)[0] == Decimal("0.061")
    assert extend(connection, {call_id: 100}, 50) == {call_id: 126}  # 132 s would be 0.133
    assert state(connection, world)[0] == Decimal("0.127")


async def test_calls_that_go_on_without_a_hold_are_held_once(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    world = make_small_world(connection, balance=Decimal("0.01"))
    await admit(asynchronous, hold(world, 1))  # 10 seconds
    calls = [hold(world, number).call_id for number in (1, 2, 3)]
    assert without_hold(connection, calls) == set(calls[1:])
    wanted = [
        Unheld(calls[0], facts_of(world), 5),
        Unheld(calls[1], facts_of(world), 100),
        Unheld(calls[2], facts_of(world, connect_fee_micros=500, minimum_seconds=30, increment_seconds=50), 5),
        Unheld("ast1-1795609861-1795609900.9", facts_of(world, account_id=999_999), 5),
    ]
    assert place(connection, "ast1", wanted, 60, 20) == calls[1:]  # whatever the balance is: they go on
    assert place(connection, "ast1", wanted, 60, 20) == []
    rows = connection.execute("SELECT covered_seconds, amount FROM holds ORDER BY call_id").fetchall()
    assert rows == [(10, Decimal("0.01")), (120, Decimal("0.12")), (80, Decimal("0.0805"))]
    assert state(connection, world) == (Decimal("0.2105"), Decimal("0.2105"), 3, 3)
    # Their next quantum is refused as anybody's.
    assert extend(connection, {calls[1]: 110}, 20) == {calls[1]: 120}
    connection.execute("UPDATE accounts SET hold = false WHERE account_id = %s", (world.customer_account,))
    assert place(connection, "ast1", [Unheld(hold(world, 4).call_id, facts_of(world), 5)], 60, 20) != []
    assert state(connection, world) == (Decimal("0.2105"), Decimal("0.2105"), 4, 4)
    await Ledger(asynchronous).post([rate_leg(ended(world, number)) for number in (1, 2, 3, 4)])
    assert state(connection, world) == (0, 0, 0, 0)


async def test_only_what_no_end_will_release_is_swept(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any]
) -> None:
    """1 expired, 2 expired but up, 3 gone without an end, 4 gone but on its way, 5 counted still, 6 and 7 elsewhere."""
    world = make_small_world(connection, balance=Decimal(10))
    now_ms = time.time_ns() // 1_000_000
    passed = {"expires_at_ms": now_ms - 1_000}
    later = {"expires_at_ms": now_ms + 3_600_000}
    for number in range(1, 8):
        node = {6: {"node": "ast6"}, 7: {"node": "ast7"}}.get(number, {})
        expiry = passed if number in (1, 2, 6, 7) else later
        await admit(asynchronous, hold(world, number, **expiry, **node))
    connection.execute(
        "INSERT INTO nodes (name, last_seen_at) VALUES ('ast6', now() - interval '1 hour'), ('ast7', now())"
    )
    calls = {number: hold(world, number).call_id for number in range(1, 8)}
    uncount(connection, [calls[3], calls[4]])
    connection.execute("UPDATE holds SET gone_at = now() - interval '6 minutes' WHERE NOT counted")
    assert long_gone(connection, "ast1", 300, 10) == [calls[3], calls[4]]
    assert long_gone(connection, "ast1", 600, 10) == long_gone(connection, "ast2", 1, 10) == []

    def swept(before_ms: int = LONG_AFTER_MS) -> dict[str, str]:
        found = sweep(connection, "ast1", "agent-1", [calls[2]], [calls[3], calls[5]], before_ms)
        return {one.call_id: one.why for one in found}

    assert swept(START_MS) == {calls[6]: "expired"}  # the status is older than the calls of this node
    assert swept() == {calls[1]: "expired", calls[3]: "no end in the journal"}
    assert swept() == {}
    assert state(connection, world) == (Decimal("0.24"), Decimal("0.24"), 3, 4)
    left = {row[0] for row in connection.execute("SELECT call_id FROM holds WHERE expires_at < now()").fetchall()}
    assert left == {calls[7]}  # its own agent is there
    rows = connection.execute("SELECT call_id, amount, swept_by FROM swept_holds ORDER BY call_id").fetchall()
    assert rows == [(calls[number], Decimal("0.06"), "agent-1") for number in (1, 3, 6)]
    # A leg that comes after all posts as ever.
    posted = await Ledger(asynchronous).post([rate_leg(ended(world, 3))])
    assert (posted.inserted, state(connection, world)[3]) == (1, 4)
    connection.execute("UPDATE swept_holds SET swept_at = now() - interval '91 days'")
    swept()
    assert connection.execute("SELECT count(*) FROM swept_holds").fetchone() == (0,)


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
