"""The ledger on the real PostgreSQL: a leg posts once, whatever repeats and cuts; exact under four writers at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from made_legs import NOON_MS, Parties, insert_parties, make_legs
from made_traffic import NAMES

from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from schemas.events import RatedLeg
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID
from sinks.cdrs import write_legs
from sinks.holds import CallLimit, Hold, Outcome, Terms, admit
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers


@pytest.fixture
def parties(postgres_dsn: str) -> Parties:
    return insert_parties(postgres_dsn)


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def asynchronous(postgres_dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def rated(parties: Parties, seed: int = 1, calls: int = 40, from_ms: int = NOON_MS) -> list[RatedLeg]:
    return [rate_leg(ended) for ended in make_legs(parties, seed, calls, from_ms)]


def signed_micros(leg: RatedLeg) -> int:
    """What a leg does to its account's balance."""
    return leg.amount_micros if leg.side == "payable" else -leg.amount_micros


def wanted_balances(legs: Iterable[RatedLeg]) -> dict[int, int]:
    wanted: dict[int, int] = {}
    for leg in {(leg.leg_id, leg.account_id, leg.revision): leg for leg in legs}.values():
        wanted[leg.account_id] = wanted.get(leg.account_id, 0) + signed_micros(leg)
    return {account: micros for account, micros in wanted.items() if micros}


def balances(connection: psycopg.Connection[Any]) -> dict[int, int]:
    rows = connection.execute("SELECT account_id, (balance * 1000000)::bigint FROM account_balances").fetchall()
    return {account: micros for account, micros in rows if micros}


def entries(connection: psycopg.Connection[Any]) -> dict[tuple[str, int, int], tuple[int, int]]:
    """(reference, account, revision): (micros, billed seconds); fails when one is there twice."""
    rows = connection.execute(
        "SELECT reference, account_id, revision, (amount * 1000000)::bigint, billed_seconds FROM ledger_entries"
    ).fetchall()
    found = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
    assert len(found) == len(rows)
    return found


def wanted_entries(legs: Iterable[RatedLeg]) -> dict[tuple[str, int, int], tuple[int, int]]:
    return {(leg.leg_id, leg.account_id, leg.revision): (signed_micros(leg), leg.billed_seconds) for leg in legs}


async def post_in_cuts(dsn: str, legs: list[RatedLeg], seed: int, most: int = 40) -> int:
    """Post the legs in their order in batches of any size, over an own connection; how many entries were new."""
    chosen = random.Random(seed)
    inserted = 0
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as own:
        ledger = Ledger(own)
        while legs:
            cut = chosen.randint(1, most)
            batch, legs = legs[:cut], legs[cut:]
            posted = await ledger.post(batch)
            assert posted.rejected == []
            assert posted.inserted + posted.repeated == len(batch)
            inserted += posted.inserted
    return inserted


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_leg_posts_once_whatever_the_repeats_and_cuts(
    connection: psycopg.Connection[Any], postgres_dsn: str, parties: Parties, seed: int
) -> None:
    legs = rated(parties, seed)
    assert len(wanted_balances(legs)) == 6
    chosen = random.Random(seed)
    shuffled = [leg for leg in legs for _ in range(chosen.randint(1, 3))]
    chosen.shuffle(shuffled)
    assert await post_in_cuts(postgres_dsn, shuffled, seed) == len(legs)
    assert entries(connection) == wanted_entries(legs)
    assert balances(connection) == wanted_balances(legs)
    assert await post_in_cuts(postgres_dsn, shuffled[::-1], seed + 1, most=500) == 0  # all of it again, cut otherwise
    assert entries(connection) == wanted_entries(legs)
    assert balances(connection) == wanted_balances(legs)


async def test_the_same_leg_twice_in_one_batch_posts_once(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    leg = next(leg for leg in rated(parties) if leg.amount_micros)
    posted = await Ledger(asynchronous).post([leg, leg, leg])
    assert (posted.inserted, posted.repeated) == (1, 2)
    assert balances(connection) == wanted_balances([leg])


async def test_four_writers_at_once_are_exact(
    connection: psycopg.Connection[Any], postgres_dsn: str, parties: Parties
) -> None:
    legs = rated(parties, seed=4, calls=400)
    orders = [random.Random(seed).sample(legs, len(legs)) for seed in range(4)]
    inserted = await asyncio.gather(*(post_in_cuts(postgres_dsn, order, seed) for seed, order in enumerate(orders)))
    assert sum(inserted) == len(legs)
    assert sum(1 for number in inserted if number) > 1  # they really were at it together
    assert entries(connection) == wanted_entries(legs)
    assert balances(connection) == wanted_balances(legs)


async def test_double_entry_sums_to_zero(
    connection: psycopg.Connection[Any], postgres_dsn: str, parties: Parties
) -> None:
    legs = rated(parties, seed=5)
    await post_in_cuts(postgres_dsn, legs, 5)
    trial = dict(
        connection.execute(
            "SELECT name, (sum(amount) * 1000000)::bigint FROM ("
            " SELECT account_id, amount FROM ledger_entries"
            " UNION ALL SELECT contra_account_id, -amount FROM ledger_entries) AS both_sides"
            " JOIN accounts USING (account_id) GROUP BY name"
        ).fetchall()
    )
    revenue = sum(leg.amount_micros for leg in legs if leg.side == "receivable")
    cost = sum(leg.amount_micros for leg in legs if leg.side == "payable")
    assert revenue > 0
    assert cost > 0
    assert trial.pop("revenue USD") == revenue
    assert trial.pop("cost USD") == -cost
    assert sum(trial.values()) == cost - revenue
    assert sum(balances(connection).values()) == cost - revenue


async def test_a_corrected_leg_posts_once_more_by_its_revision(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    leg = next(leg for leg in rated(parties) if leg.amount_micros)
    corrected = msgspec.structs.replace(leg, revision=2, amount_micros=leg.amount_micros + 7)
    ledger = Ledger(asynchronous)
    for batch in ([leg], [corrected, leg], [leg], [corrected]):
        await ledger.post(batch)
    difference = signed_micros(corrected) - signed_micros(leg)
    assert entries(connection) == {
        **wanted_entries([leg]), (leg.leg_id, leg.account_id, 2): (difference, leg.billed_seconds),
    }  # fmt: skip
    assert kinds(connection) == {"leg": 1, "correction": 1}
    assert balances(connection) == {leg.account_id: signed_micros(corrected)}


def kinds(connection: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(connection.execute("SELECT kind, count(*) FROM ledger_entries GROUP BY kind").fetchall())


def estimate_of(leg: RatedLeg, chosen: random.Random) -> RatedLeg:
    """The same leg as a crash might have closed it: shorter, longer, or by chance the same."""
    ended = msgspec.structs.replace(leg.ended, estimated=True)
    if ended.answered_at_ms is not None:
        ended = msgspec.structs.replace(
            ended, duration_ms=max(0, ended.duration_ms + chosen.choice([-9_000, 0, 7_000]))
        )
    return rate_leg(ended)


@pytest.mark.parametrize("seed", range(6))
async def test_estimates_and_true_ends_in_any_order_end_in_the_true_amount(
    connection: psycopg.Connection[Any], postgres_dsn: str, clickhouse: ClickHouse, parties: Parties, seed: int
) -> None:
    """Every leg gets estimates, true ends, or both, each up to three times, in any order, by two writers."""
    chosen = random.Random(seed)
    final: list[RatedLeg] = []
    arrivals: list[RatedLeg] = []
    for true in rated(parties, seed, 60):
        estimate = estimate_of(true, chosen)
        what = chosen.choice(["estimate", "true", "both", "both"])
        arrivals += [estimate] * (chosen.randint(1, 3) if what != "true" else 0)
        arrivals += [true] * (chosen.randint(1, 3) if what != "estimate" else 0)
        final.append(estimate if what == "estimate" else true)
    chosen.shuffle(arrivals)
    most = chosen.choice([1, 5, 300])
    await asyncio.gather(
        post_in_cuts(postgres_dsn, arrivals, seed, most),
        post_in_cuts(postgres_dsn, chosen.sample(arrivals, len(arrivals)), seed + 1, 40),
    )
    sums: dict[str, int] = {}
    billed: dict[str, int] = {}
    for (leg_id, _, _), (micros, _) in entries(connection).items():
        sums[leg_id] = sums.get(leg_id, 0) + micros
        billed[leg_id] = billed.get(leg_id, 0) + 1
    assert sums == {leg.leg_id: signed_micros(leg) for leg in final}
    assert max(billed.values()) == 2  # an estimate, and its correction
    assert balances(connection) == wanted_balances(final)
    assert kinds(connection)["leg"] == len(final)  # never a second bill
    with connect(clickhouse) as client:
        while arrivals:
            cut = chosen.randint(1, max(most, 20))  # of any size; one by one they take a minute
            write_legs(client, arrivals[:cut], NAMES)
            arrivals = arrivals[cut:]
        rows = client.query("SELECT leg_id, toInt64(amount * 1000000), estimated FROM legs FINAL").result_rows
    assert sorted(rows) == sorted((leg.leg_id, leg.amount_micros, leg.ended.estimated) for leg in final)


async def test_ordinary_legs_never_look_for_other_revisions_in_the_ledger(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    legs = rated(parties)
    await Ledger(asynchronous).post(legs)
    assert connection.execute("SELECT count(*) FROM revised_legs").fetchone() == (0,)
    await Ledger(asynchronous).post([estimate_of(legs[0], random.Random(1))])  # too late: the truth is there
    assert connection.execute("SELECT count(*) FROM revised_legs").fetchone() == (0,)


async def test_legs_of_many_months_and_of_a_batch_across_midnight_at_new_year(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    new_year_ms = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) * 1000
    legs = [leg for months in (0, 400, 900) for leg in rated(parties, months, 10, NOON_MS - months * 86_400_000)]
    edge = [
        msgspec.structs.replace(
            leg, ended=msgspec.structs.replace(leg.ended, call_started_at_ms=new_year_ms + (place % 3) - 1)
        )
        for place, leg in enumerate(rated(parties, 7, 10))
    ]
    await Ledger(asynchronous).post([*legs, *edge])
    assert entries(connection) == wanted_entries([*legs, *edge])
    assert balances(connection) == wanted_balances([*legs, *edge])
    rows = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM ledger_entries").fetchall()
    assert {"ledger_entries_202612", "ledger_entries_202701"} <= {name for (name,) in rows}
    assert len(rows) >= 5


def hold_of(parties: Parties, call_id: str, **changes: Any) -> Hold:
    values: dict[str, Any] = {
        "call_id": call_id, "node": "sim1", "peer_id": 1, "account_id": parties.accounts[1], "first_seconds": 60,
        "least_seconds": 1, "quantum_seconds": 30, "terms": Terms(6_000_000, 0, 0, 1, 6),
        "limits": (CallLimit("p1", 0, 0),),
        "started_at_ms": NOON_MS, "expires_at_ms": NOON_MS + 4 * 3_600_000, **changes,
    }  # fmt: skip
    return Hold(**values)


def holds(connection: psycopg.Connection[Any]) -> tuple[list[str], Decimal, int]:
    """(calls with a hold, Σ held, Σ concurrent)"""
    row = connection.execute(
        "SELECT ARRAY(SELECT call_id FROM holds ORDER BY call_id), (SELECT sum(held) FROM account_balances),"
        " (SELECT coalesce(sum(concurrent), 0) FROM peer_counters)"
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


async def test_a_hold_goes_with_the_inbound_leg_and_in_its_transaction(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    legs = rated(parties)
    inbound = next(leg for leg in legs if leg.side == "receivable" and leg.amount_micros and leg.linked_leg_id)
    call_id = inbound.ended.call_id
    outbound = [leg for leg in legs if leg.ended.call_id == call_id and leg.side == "payable"]
    others = "sim1-1795000000-1795000000.1"
    for call in (call_id, others):
        assert (await admit(asynchronous, hold_of(parties, call))).outcome is Outcome.ADMITTED
    ledger = Ledger(asynchronous)
    await ledger.post(outbound)
    assert holds(connection) == (sorted([call_id, others]), Decimal("0.12"), 2)
    before = entries(connection)
    # When the hold cannot be released, nothing of the batch is posted either.
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON holds FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="not now"):
        await ledger.post([inbound])
    assert entries(connection) == before
    assert balances(connection) == wanted_balances(outbound)
    connection.execute("DROP TRIGGER refuse ON holds")
    for _ in range(2):
        await ledger.post([inbound])
        assert holds(connection) == ([others], Decimal("0.06"), 1)
        assert balances(connection) == wanted_balances([*outbound, inbound])


async def test_a_hold_on_another_account_than_the_legs_is_released_too(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    inbound = next(leg for leg in rated(parties) if leg.side == "receivable" and leg.account_id != parties.accounts[1])
    await admit(asynchronous, hold_of(parties, inbound.ended.call_id))
    await Ledger(asynchronous).post([inbound])
    assert holds(connection) == ([], 0, 0)


async def test_calls_are_admitted_while_others_post(
    connection: psycopg.Connection[Any], postgres_dsn: str, parties: Parties
) -> None:
    """Admission and posting lock the same rows: nobody deadlocks, and all that was held is given back."""
    legs = rated(parties, seed=6, calls=150)
    calls = [leg.ended.call_id for leg in legs if leg.side == "receivable"]

    async def admit_all(places: range) -> None:
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as own:
            for place in places:
                held = hold_of(parties, calls[place], account_id=parties.accounts[1 + place % 3], peer_id=1 + place % 3)
                assert (await admit(own, held)).outcome is Outcome.ADMITTED

    await asyncio.gather(
        admit_all(range(0, len(calls), 2)),
        admit_all(range(1, len(calls), 2)),
        post_in_cuts(postgres_dsn, random.Random(1).sample(legs, len(legs)), 1),
        post_in_cuts(postgres_dsn, random.Random(2).sample(legs, len(legs)), 2),
    )
    assert await post_in_cuts(postgres_dsn, legs, 3) == 0  # releases what was admitted after its leg had posted
    assert holds(connection) == ([], 0, 0)
    assert balances(connection) == wanted_balances(legs)


async def test_a_leg_that_cannot_be_posted_is_named_and_the_others_post(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    legs = rated(parties)
    receivable = [leg for leg in legs if leg.side == "receivable" and leg.amount_micros]
    payable = [leg for leg in legs if leg.side == "payable" and leg.amount_micros]
    good = [*receivable[4:], *payable[4:]]
    bad = {
        msgspec.structs.replace(receivable[0], account_id=999_999): "account_id 999999: there is no such account",
        msgspec.structs.replace(receivable[1], account_id=UNIDENTIFIED_ACCOUNT_ID): "has no money",
        msgspec.structs.replace(receivable[2], account_id=parties.accounts[11]): "needs a customer account",
        msgspec.structs.replace(payable[0], account_id=parties.accounts[1]): "needs a vendor account",
        msgspec.structs.replace(payable[1], currency="EUR"): "currency EUR: account",
        msgspec.structs.replace(payable[2], account_id=2**31 - 1): "there is no such account",
    }
    mixed = [*good, *bad]
    random.Random(1).shuffle(mixed)
    posted = await Ledger(asynchronous).post(mixed)
    assert {leg.leg_id: reason for leg, reason in posted.rejected}.keys() == {leg.leg_id for leg in bad}
    for leg, reason in posted.rejected:
        assert bad[leg] in reason
    assert posted.inserted == len(good)
    assert entries(connection) == wanted_entries(good)
    assert balances(connection) == wanted_balances(good)


async def test_a_refused_call_of_nobody_posts_at_zero(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties
) -> None:
    leg = next(leg for leg in rated(parties) if not leg.amount_micros and leg.side == "receivable")
    nobody = msgspec.structs.replace(leg, account_id=UNIDENTIFIED_ACCOUNT_ID)
    posted = await Ledger(asynchronous).post([nobody])
    assert (posted.inserted, posted.rejected) == (1, [])
    assert entries(connection) == {(leg.leg_id, UNIDENTIFIED_ACCOUNT_ID, 1): (0, 0)}
    assert balances(connection) == {}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
async def test_an_estimate_on_another_account_than_the_true_end_is_no_second_leg(
    connection: psycopg.Connection[Any], asynchronous: psycopg.AsyncConnection[Any], parties: Parties,
    order: tuple[int, int], together: bool,
) -> None:  # fmt: skip
    leg = next(leg for leg in rated(parties) if not leg.amount_micros and leg.side == "receivable")
    estimate = msgspec.structs.replace(leg, revision=0)  # on the account of its hold
    legs = [estimate, msgspec.structs.replace(leg, account_id=UNIDENTIFIED_ACCOUNT_ID)]
    legs = [legs[number] for number in order]
    ledger = Ledger(asynchronous)
    for batch in [legs, legs] if together else [[one] for one in (*legs, *legs)]:
        await ledger.post(batch)
    kinds = connection.execute(
        "SELECT kind, revision FROM ledger_entries WHERE reference = %s ORDER BY revision", (leg.leg_id,)
    ).fetchall()
    assert kinds == ([("leg", 1)] if together or order == (1, 0) else [("leg", 0), ("correction", 1)])
    assert sum(amount for amount, _ in entries(connection).values()) == 0


async def test_no_legs_are_no_work(asynchronous: psycopg.AsyncConnection[Any]) -> None:
    assert await Ledger(asynchronous).post([]) == (0, 0, [])
