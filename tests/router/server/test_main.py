"""The router's process on the real PostgreSQL: a call asked over AGI, admitted, refused, and seen after a NOTIFY."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from running_router import NUMBER, Running
from small_world import SmallWorld, make_small_world

from schemas.events import CallEnded
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, decode_facts
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg
from tests.faults.report import report

pytestmark = pytest.mark.servers


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> SmallWorld:
    world = make_small_world(connection, balance=Decimal(1))
    connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
    connection.execute(
        "INSERT INTO route_class_entries (route_class_id, peer_id) SELECT route_class_id, %s FROM route_classes",
        (world.terminator,),
    )
    return world


@pytest.fixture
async def router(postgres_dsn: str, world: SmallWorld, tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(postgres_dsn, tmp_path)
    try:
        await running.until_ready()
        yield running
    finally:
        running.end()


async def test_a_call_is_admitted_with_its_routes(
    router: Running, world: SmallWorld, connection: psycopg.Connection[Any]
) -> None:
    answer = await router.call(1)
    assert answer is not None
    assert (answer["DECISION"], answer["ROUTES"], answer["REASON"]) == ("ALLOW", "1", "")
    assert answer["ROUTE_1_DIAL"] == f"PJSIP/{NUMBER}@v-seller"
    assert list(answer)[-1] == "ROUTES"
    facts, leg = decode_facts(answer["CALL_FACTS"]), decode_facts(answer["ROUTE_1_FACTS"])
    assert (facts.side, facts.account_id, facts.price_e8) == ("receivable", world.customer_account, 6_000_000)
    assert (leg.side, leg.account_id, leg.vendor_peer_id) == ("payable", world.vendor_account, world.terminator)
    # 1.00 buys 1,000 seconds at 0.06 a minute.
    assert answer["MAX_MS"] == "1000000"
    row = connection.execute("SELECT amount, covered_seconds, price FROM holds").fetchone()
    assert row == (Decimal("0.06"), 60, Decimal("0.06"))


@pytest.mark.parametrize(
    ("callee", "address", "reason", "cause"),
    [
        (NUMBER, "127.0.0.99:5060", "UNAUTHORISED", "21"), ("44&PJSIP/x", "127.0.0.10:5060", "BAD NUMBER", "28"),
        ("331234567", "127.0.0.10:5060", "NOT BILLABLE", "34"),
    ],
)  # fmt: skip
async def test_a_refused_call_hears_why(router: Running, callee: str, address: str, reason: str, cause: str) -> None:
    answer = await router.call(2, callee, address)
    assert answer is not None
    assert (answer["DECISION"], answer["REASON"], answer["REFUSE_CAUSE"], answer["ROUTES"]) == (
        "REFUSE",
        reason,
        cause,
        "0",
    )
    assert decode_facts(answer["CALL_FACTS"]).price_e8 == 0


async def test_money_runs_out(router: Running, connection: psycopg.Connection[Any]) -> None:
    answers = [await router.call(number) for number in range(1, 19)]
    reasons = [answer["REASON"] for answer in answers if answer]
    # 1.00 is sixteen quanta of 0.06, then 40 seconds for the seventeenth call, then nothing.
    assert reasons == [""] * 17 + ["NO BALANCE"]
    assert answers[16] is not None
    assert answers[16]["MAX_MS"] == "40000"
    assert connection.execute("SELECT sum(amount) FROM holds").fetchone() == (Decimal(1),)


async def test_a_change_is_live_without_a_restart(router: Running, connection: psycopg.Connection[Any]) -> None:
    connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '33', 0.01 FROM decks")
    deadline = time.monotonic() + 5
    while (answer := await router.call(3, "331234567")) is not None and answer["DECISION"] == "REFUSE":
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)
    assert answer is not None
    connection.execute("UPDATE peers SET enabled = false WHERE name = 'buyer'")
    while (answer := await router.call(4)) is not None and answer["REASON"] != "DISABLED":
        assert time.monotonic() < deadline + 5, answer
        await asyncio.sleep(0.05)


async def test_a_peer_with_too_many_dead_letters_is_refused_and_passed_over(
    router: Running, world: SmallWorld, connection: psycopg.Connection[Any]
) -> None:
    # Each call that is admitted until the router has looked holds money.
    connection.execute("UPDATE accounts SET credit_limit = 1000 WHERE account_id = %s", (world.customer_account,))
    (buyer, seller) = (
        connection.execute("SELECT peer_id FROM peers WHERE name = %s", (name,)).fetchone()
        for name in ("buyer", "seller")
    )
    assert buyer is not None
    assert seller is not None
    connection.execute("INSERT INTO letter_stops (peer_id) VALUES (%s)", seller)
    deadline = time.monotonic() + 10
    while (answer := await router.call(3)) is not None and answer["DECISION"] != "REFUSE":
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)
    assert answer is not None
    assert answer["REASON"] == "LIMIT"  # its only vendor has no room
    connection.execute("INSERT INTO letter_stops (peer_id) VALUES (%s)", buyer)
    while (answer := await router.call(4)) is not None and answer["REASON"] != "DEAD LETTERS":
        assert time.monotonic() < deadline + 5, answer
        await asyncio.sleep(0.05)
    assert answer is not None
    facts = decode_facts(answer["CALL_FACTS"])
    assert (facts.account_id, facts.customer_peer_id) == (UNIDENTIFIED_ACCOUNT_ID, buyer[0])
    connection.execute("DELETE FROM letter_stops")
    while (answer := await router.call(5)) is not None and answer["DECISION"] == "REFUSE":
        assert time.monotonic() < deadline + 10, answer
        await asyncio.sleep(0.05)


async def test_a_large_change_is_live_as_soon_as_a_small_one(
    router: Running, connection: psycopg.Connection[Any]
) -> None:
    with connection.transaction():  # hundreds of notifications, which all come at once
        for number in range(400):
            connection.execute("INSERT INTO companies (name) VALUES (%s)", (f"Company {number}",))
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '33', 0.01 FROM decks")
    deadline = time.monotonic() + 8
    while (answer := await router.call(3, "331234567")) is not None and answer["DECISION"] == "REFUSE":
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


def make_prepaid(connection: psycopg.Connection[Any], balance: Decimal) -> None:
    """The customer pays ahead, and the node's agent was here just now (and will have been for an hour)."""
    connection.execute("UPDATE accounts SET payment = 'prepaid' WHERE name = 'Buyer USD'")
    connection.execute("UPDATE account_balances SET balance = %s WHERE balance <> 0", (balance,))
    connection.execute("INSERT INTO nodes (name, last_seen_at) VALUES ('ast1', now() + interval '1 hour')")


@pytest.mark.faults
@pytest.mark.parametrize("credit", [0, Decimal("0.24")])
async def test_two_routers_never_admit_more_than_the_account_affords(
    router: Running, postgres_dsn: str, connection: psycopg.Connection[Any], tmp_path: Path, credit: Decimal
) -> None:
    """200 calls at once on a prepaid account that affords 20, and on one whose credit makes up a fifth of that."""
    (tmp_path / "second").mkdir()
    other = Running(postgres_dsn, tmp_path / "second")
    await other.until_ready()
    make_prepaid(connection, Decimal("1.2") - credit)
    connection.execute("UPDATE accounts SET credit_limit = %s WHERE name = 'Buyer USD'", (credit,))
    overdrawn = asyncio.create_task(watch_for_overdrafts(postgres_dsn))
    answers = await asyncio.gather(*((router, other)[number % 2].call(number) for number in range(200)))
    overdrawn.cancel()
    assert await asyncio.gather(overdrawn, return_exceptions=True) != [True]
    other.end()
    reasons = Counter(answer["REASON"] for answer in answers if answer)
    # A busy machine's: PostgreSQL late, too many sessions, or no answer before the session's deadline.
    late = reasons.pop("DATABASE UNAVAILABLE", 0) + reasons.pop("OVERLOAD", 0) + answers.count(None)
    assert (reasons[""], reasons["NO BALANCE"] + late) == (20, 180), (reasons, late, answers.count(None))
    assert late < 20
    row = connection.execute(
        "SELECT sum(amount), count(*), min(held), min(balance + credit_limit - held) FROM holds"
        " JOIN account_balances USING (account_id) JOIN accounts USING (account_id)"
    ).fetchone()
    assert row == (Decimal("1.2"), 20, Decimal("1.2"), 0)
    report(f"F12 200 calls at once, two routers, credit {credit}", 0, 200, 0, "20 admitted, never overdrawn")


async def watch_for_overdrafts(dsn: str) -> bool:
    """Looks all the time; returns only when it has seen more held than there is."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(
                "SELECT count(*) FROM account_balances JOIN accounts USING (account_id)"
                " WHERE held > balance + credit_limit"
            )
            if await cursor.fetchone() != (0,):
                return True
            await asyncio.sleep(0.002)


async def test_prepaid_is_refused_where_nobody_could_cut_the_call(
    router: Running, connection: psycopg.Connection[Any]
) -> None:
    make_prepaid(connection, Decimal(1))
    assert (await router.call(1) or {})["REASON"] == ""
    connection.execute("UPDATE nodes SET last_seen_at = now() - interval '15.1 seconds'")
    answer = await router.call(2)
    assert answer is not None
    assert (answer["DECISION"], answer["REASON"], answer["REFUSE_CAUSE"]) == ("REFUSE", "NODE SILENT", "34")


async def test_an_account_without_holds_is_limited_by_its_peer_alone(
    router: Running, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("UPDATE accounts SET hold = false WHERE name = 'Buyer USD'")
    connection.execute("UPDATE account_balances SET balance = -1000")
    connection.execute("UPDATE peers SET max_concurrent = 2 WHERE name = 'buyer'")
    deadline = time.monotonic() + 5
    while router.said().count("snapshot live") < 2:
        assert time.monotonic() < deadline, router.said()
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    answers = [await router.call(number) for number in (1, 2, 3)]
    assert [(answer["REASON"], answer.get("MAX_MS")) for answer in answers if answer] == [
        ("", "14400000"), ("", "14400000"), ("LIMIT", None)
    ]  # fmt: skip
    assert answers[0] is not None
    assert answers[0]["MAX_REASON"] == "LONGEST CALL"


async def test_the_largest_overrun_is_the_formula_of_the_handbook(
    router: Running, postgres_dsn: str, connection: psycopg.Connection[Any]
) -> None:
    """docs/operations.md: nobody extends and nobody cuts, and every call talks for as long as the dialplan lets it."""
    make_prepaid(connection, Decimal(1))
    calls, free, quantum = 5, Decimal(1), Decimal("0.06")
    answers = [await router.call(number) for number in range(calls)]
    legs = []
    for number, answer in enumerate(answers):
        assert answer is not None
        assert answer["MAX_REASON"] == "BALANCE EXHAUSTED"
        longest_ms = int(answer["MAX_MS"])
        call_id = f"ast1-1795609861-1795609900.{number}"
        legs.append(rate_leg(CallEnded(
            event_id=f"{call_id}/0:call_ended", call_id=call_id, call_started_at_ms=1_795_609_900_000,
            started_at_ms=1_795_609_900_000, answered_at_ms=1_795_609_901_000,
            ended_at_ms=1_795_609_901_000 + longest_ms, duration_ms=longest_ms, asterisk_duration_ms=longest_ms,
            clock_disagreement=False, pdd_ms=1, dial_status="ANSWER", cause=16, release_side="us", legs=0,
            reason=answer["MAX_REASON"], caller_dialled="", callee_dialled="", endpoint="", remote_address="",
            facts=decode_facts(answer["CALL_FACTS"]), last_facts=None,
        )))  # fmt: skip
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as own:
        await Ledger(own).post(legs)
    overrun = (calls - 1) * free - quantum * calls * (calls - 1) / 2
    row = connection.execute("SELECT balance, held FROM account_balances WHERE balance < 0").fetchone()
    assert row == (-overrun, 0)
    # One call alone never spends more than there is.
    assert int((answers[0] or {})["MAX_MS"]) == 1_000_000


async def test_a_cold_start_needs_no_database(
    router: Running, postgres_dsn: str, tmp_path: Path, connection: psycopg.Connection[Any]
) -> None:
    (tmp_path / "beat").unlink()
    nowhere = Running("postgresql://nobody@127.0.0.1:9/none", tmp_path)
    try:
        await nowhere.until_ready()
        answer = await nowhere.call(5)
        assert answer is not None
        assert answer["REASON"] == "DATABASE UNAVAILABLE"
        connection.execute("UPDATE accounts SET when_database_away = 'allow' WHERE name = 'Buyer USD'")
        deadline = time.monotonic() + 10
        while (answer := await nowhere.call(6)) is not None and answer["REASON"]:
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.1)
        assert answer is not None
        assert (answer["DECISION"], answer["MAX_MS"]) == ("ALLOW", "14400000")
    finally:
        nowhere.end()
