"""The auditor over real stores: equal is ok, in flight and repeated too; what is spoilt is named, and seen mended."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from made_legs import Ended, insert_parties, make_legs, produce_events
from made_traffic import NAMES

from schemas.connections import ClickHouse, Kafka, Postgres
from schemas.events import RatedLeg
from schemas.topics import RATED_LEGS
from sinks.auditor.main import Auditor, Run
from sinks.auditor.settings import AuditorSettings
from sinks.cdrs import write_legs
from sinks.clickhouse import connect
from sinks.ledger import Ledger
from sinks.topics import TopicError
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers
START = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)


class World:
    """Real stores, and an auditor whose clock stands where the test sets it."""

    def __init__(self, settings: AuditorSettings) -> None:
        self.settings = settings
        self.now = START
        self.auditor = Auditor(settings, lambda: self.now)
        self.ended: list[Ended] = []

    def rate(self, legs: list[RatedLeg]) -> None:
        produce_events(self.settings.kafka, RATED_LEGS, legs)

    async def post(self, legs: list[RatedLeg]) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            await Ledger(connection).post(legs)

    def write(self, legs: list[RatedLeg]) -> None:
        with connect(self.settings.clickhouse) as client:
            write_legs(client, legs, NAMES)

    def run(self, later_seconds: float = 61) -> Run:
        self.now += timedelta(seconds=later_seconds)
        assert self.auditor.lock()
        return self.auditor.run()

    @property
    def dsn(self) -> str:
        return self.settings.postgres.dsn.get_secret_value()

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        """Tamper as only a superuser could: without triggers."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def clickhouse(self, statement: str) -> None:
        with connect(self.settings.clickhouse, query_settings={"mutations_sync": "2"}) as client:
            client.command(statement)


def said(run: Run) -> set[tuple[str, str]]:
    return {(one.kind, one.subject) for one in run.differences}


@pytest.fixture
def world(postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[World]:
    world = World(AuditorSettings(postgres=postgres, kafka=kafka, clickhouse=clickhouse, cdr_seconds=0))
    yield world
    world.auditor.close()


@pytest.fixture
def legs(world: World) -> list[RatedLeg]:
    return [rate_leg(leg) for leg in make_legs(insert_parties(world.dsn), 1, 60)]


async def test_what_flows_is_equal_in_flight_repeated_and_at_rest(world: World, legs: list[RatedLeg]) -> None:
    old, new = legs[:60], legs[60:]
    world.rate(old)
    await world.post(old)
    world.write(old)
    run = world.run()  # it begins: what is there is counted, what billing has not acknowledged is read again
    assert (run.differences, run.counts["rated"], run.counts["compared"]) == ([], 60, 60)
    world.rate(new)
    assert (world.run(1).differences, world.run(1).counts["waiting"]) == ([], len(new))
    await world.post(new)
    run = world.run(1)
    assert (run.differences, run.counts["posted"]) == ([], len(new))
    world.write(new)
    run = world.run(1)
    assert (run.differences, run.counts["waiting"]) == ([], 0)
    world.rate(old[:10])  # a worker was killed: rated, posted and written again
    await world.post(old[:10])
    world.write(old[:10])
    run = world.run()
    assert (run.differences, run.counts) == ([], {"rated": 10, "posted": 0, "compared": 10, "waiting": 0})
    run = world.run(300)  # the hours are at rest now, and are compared whole
    assert run.differences == []
    assert world.sql("SELECT bool_and(compared), sum(legs) FROM audit_hours") == [(True, len(legs))]
    assert world.sql("SELECT count(*), bool_and(ok) FROM audit_runs") == [(7, True)]


async def test_another_process_goes_on_where_this_one_stood(world: World, legs: list[RatedLeg]) -> None:
    world.rate(legs[:50])
    assert world.run().counts["waiting"] == 50
    world.auditor.close()
    world.auditor = Auditor(world.settings, lambda: world.now)
    await world.post(legs[:50])
    world.write(legs[:50])
    run = world.run()
    assert (run.differences, run.counts) == ([], {"rated": 0, "posted": 50, "compared": 50, "waiting": 0})
    second = Auditor(world.settings)
    assert not second.lock()
    second.close()


async def test_what_is_read_in_slices_is_equal_too(world: World, legs: list[RatedLeg]) -> None:
    world.auditor.close()
    world.auditor = Auditor(world.settings.model_copy(update={"most_messages": 2}), lambda: world.now)
    assert world.run().more is False
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    runs = [world.run(1)]
    while runs[-1].more:
        runs.append(world.run(1))
    assert len(runs) > 2
    assert [run.differences for run in runs] == [[]] * len(runs)
    assert (sum(run.counts["rated"] for run in runs), runs[-1].counts["waiting"]) == (len(legs), 0)


async def test_each_store_is_spoilt_and_mended_in_turn(world: World, legs: list[RatedLeg]) -> None:
    world.run()
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    assert world.run().differences == []
    leg = next(leg for leg in legs if leg.side == "payable" and leg.amount_micros)
    account = f"account {leg.account_id}"
    world.sql(f"UPDATE account_balances SET balance = balance + 0.000001 WHERE account_id = {leg.account_id}")
    assert said(world.run()) == {("balance is not the sum of its entries", account)}
    world.sql(f"UPDATE account_balances SET balance = balance - 0.000001 WHERE account_id = {leg.account_id}")
    assert world.run(300).differences == []
    # Rated, and never posted: a difference once it has waited long enough.
    lost = [rate_leg(one) for one in make_legs(_parties(world), 9, 2, 1_795_610_000_000)]
    world.rate(lost)
    assert world.run().differences == []
    assert said(world.run()) == {("rated leg not in the ledger", one.leg_id) for one in lost}
    await world.post(lost)
    assert said(world.run()) == {("rated leg without CDR", one.leg_id) for one in lost}
    ((since, seen, resolved),) = world.sql(
        "SELECT min(since), max(last_seen_at), max(resolved_at) FROM audit_differences"
        " WHERE kind = 'rated leg not in the ledger'"
    )
    assert since < seen < resolved  # type: ignore[operator]
    world.write(lost)
    assert world.run().differences == []
    # A CDR that nobody rated shows when its hour is at rest, and by its leg.
    world.clickhouse(f"ALTER TABLE legs DELETE WHERE leg_id = '{leg.leg_id}'")
    world.sql("UPDATE audit_hours SET compared = false")
    assert said(world.run(300)) == {("posted leg without CDR", leg.leg_id)}
    world.write([leg])
    assert world.run(300).differences == []


async def test_holds_that_are_wrong_are_named(world: World, legs: list[RatedLeg]) -> None:
    world.rate(legs)
    await world.post(legs)
    world.write(legs)
    inbound = next(leg for leg in legs if leg.side == "receivable")
    columns = "call_id, node, peer_id, account_id, amount, covered_seconds, quantum, quantum_seconds"
    values = f"'sim1', 1, {inbound.account_id}, 1, 60, 1, 60"
    going, over = "sim1-1795000000-1795608000.99", inbound.ended.call_id
    for call_id, expires in ((going, START - timedelta(hours=1)), (over, START + timedelta(days=1))):
        world.sql(
            f"INSERT INTO holds ({columns}, admitted_at, expires_at) VALUES ('{call_id}', {values}, now(), '{expires}')"
        )
    assert said(world.run()) == {
        ("held is not the sum of its holds", f"account {inbound.account_id}"),
        ("hold of a call that has ended", f"{over}/0"),
        ("hold past its expiry", f"{going}/0"),
    }
    world.sql("DELETE FROM holds")
    assert world.run().differences == []


def _parties(world: World) -> object:
    from made_legs import Parties

    rows = world.sql("SELECT company_id, account_id FROM accounts WHERE company_id IS NOT NULL")
    return Parties({int(str(company)): int(str(account)) for company, account in rows})


def test_a_broker_that_is_away_keeps_nothing_of_a_run(world: World) -> None:
    world.run()
    before = world.sql("SELECT posted_xact, rated_offsets FROM audit_state")
    world.auditor.close()
    world.auditor = Auditor(world.settings.model_copy(update={"kafka": Kafka(bootstrap="127.0.0.1:1")}))
    with pytest.raises(TopicError, match="does not answer"):
        world.auditor.run()
    assert world.sql("SELECT posted_xact, rated_offsets FROM audit_state") == before
