"""The continuous audit and the whole one after the same traffic with faults: they say the same, of the same legs."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from audit_world import World, commit_all, offsets_of
from made_legs import Ended, insert_parties, journal_line, make_legs, produce_events, write_journals

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import DeadLetter, RatedLeg
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS
from sinks.audit.continuous.letters import OPEN_LETTER
from sinks.audit.continuous.settings import AuditorSettings
from sinks.audit.full.audit import AuditReport, audit, report_json
from sinks.audit.full.sources import AuditSettings
from sinks.dead_letters.store import keep_letters
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers
SETTLED = timedelta(seconds=70)
AT_REST = timedelta(minutes=5)
OLD = timedelta(days=8)


class Line:
    """A world with journals, in which calls end."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world, self.directory = world, directory
        self.world.now = datetime.now(UTC)
        self.ended = make_legs(insert_parties(world.dsn), 1, 60)
        self.rated = [rate_leg(leg) for leg in self.ended]
        self.chosen = random.Random(7)

    async def flow(self, legs: list[RatedLeg]) -> None:
        """Through every store."""
        self.world.rate(legs)
        await self.world.post(legs)
        self.world.write(legs)

    async def refuse(self, leg: RatedLeg, state: str) -> None:
        """The ledger refuses it: a dead letter, which is then decided about, or not."""
        before = offsets_of(self.world.settings.kafka, RATED_LEGS)
        self.world.rate([leg])
        self.world.write([leg])
        after = offsets_of(self.world.settings.kafka, RATED_LEGS)
        ((partition, offset),) = [
            (number, was[1]) for number, (was, now) in enumerate(zip(before, after, strict=True)) if was != now
        ]
        origin = f"{RATED_LEGS.name}/{partition}/{offset}/0"
        letter = DeadLetter(event_id=origin, origin=origin, reason="no", raw_base64="", at_ms=1, leg_id=leg.leg_id)
        produce_events(self.world.settings.kafka, DEAD_LETTERS, [letter])
        async with await psycopg.AsyncConnection.connect(self.world.dsn) as connection:
            await keep_letters(connection, [letter])
        self.decide(leg.leg_id, state)

    def decide(self, leg_id: str, state: str) -> None:
        self.world.sql(
            f"UPDATE dead_letters SET state = '{state}', decided_by = 'me', decided_why = 'so', decided_at = now()"
            f" WHERE leg_id = '{leg_id}' AND '{state}' <> 'open'"
        )

    async def crash(self, leg: Ended) -> None:
        """Its node dies: an estimate goes all the way; its true end is found in the journal later."""
        guess = msgspec.structs.replace(
            leg, estimated=True, ended_at_ms=leg.ended_at_ms + 5_000, duration_ms=leg.duration_ms + 5_000
        )
        await self.flow([rate_leg(guess)])

    def whole(self) -> AuditReport:
        """The whole audit, with the journals of all that ended."""
        settings = self.world.settings
        journals = {"sim1": self.directory / "sim1" / "journal"}
        return audit(
            AuditSettings(
                postgres=settings.postgres, kafka=settings.kafka, clickhouse=settings.clickhouse, journals=journals
            )
        )

    def both(self) -> tuple[set[str], set[str]]:
        """The legs that the continuous audit names, when all is at rest, and those that the whole one does."""
        self.world.run(SETTLED.total_seconds())
        run = self.world.run(AT_REST.total_seconds())
        report = self.whole()
        assert report.ok == (not run.differences), (report.differences, run.differences)
        named = {one.detail if one.kind == OPEN_LETTER else one.subject for one in run.differences}
        return {one for one in named if "/" in one}, {one.leg_id for one in report.differences if one.leg_id}


@pytest.fixture
def line(tmp_path: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[Line]:
    world = World(AuditorSettings(postgres=postgres, kafka=kafka, clickhouse=clickhouse, cdr_seconds=0))
    yield Line(world, tmp_path)
    world.auditor.close()


async def traffic(line: Line) -> tuple[RatedLeg, RatedLeg]:
    """Calls with faults; an open and a discarded dead letter come out."""
    world = line.world
    answered = [leg for leg in line.ended if leg.answered_at_ms is not None]
    crashed = answered[:2]
    opened, discarded = [rate_leg(leg) for leg in answered[-2:]]
    others = [
        leg for leg in line.rated if leg.leg_id not in {rate_leg(one).leg_id for one in (*crashed, *answered[-2:])}
    ]
    world.run()
    for leg in crashed:
        await line.crash(leg)
    await line.flow(others[:60])
    world.run()
    await line.flow(others[40:])  # a worker was killed: some come again
    await line.flow([rate_leg(crashed[0])])  # the true end of one of them
    await line.refuse(opened, "open")
    await line.refuse(discarded, "discarded")
    line.ended.remove(crashed[1])  # its true end went with its node
    line.rated = [rate_leg(leg) for leg in line.ended]
    produce_events(world.settings.kafka, CALLS, line.ended)
    write_journals(line.directory, line.ended)
    return opened, discarded


async def test_both_name_the_same_legs_and_both_see_them_mended(line: Line) -> None:
    world = line.world
    opened, _ = await traffic(line)
    assert line.both() == ({opened.leg_id}, {opened.leg_id})
    line.decide(opened.leg_id, "discarded")
    assert line.both() == (set(), set())
    assert world.sql("SELECT count(*) FROM ledger_entries WHERE kind = 'correction'") == [(1,)]
    # A row of the ledger is gone before anybody looked.
    new = [rate_leg(leg) for leg in make_legs_again(line, 5)]
    await line.flow(new)
    victim = next(leg for leg in new if leg.side == "payable" and leg.amount_micros)
    at = f"reference = '{victim.leg_id}'"
    world.sql(
        f"CREATE TABLE aside AS SELECT * FROM ledger_entries WHERE {at}", f"DELETE FROM ledger_entries WHERE {at}"
    )
    assert line.both() == ({victim.leg_id}, {victim.leg_id})
    # Put back as it was it would be before the position; posted anew, as a worker would, it has its own place.
    columns = (
        "reference, account_id, revision, occurred_at, kind, contra_account_id, amount, billed_seconds, rated_offset"
    )
    world.sql(f"INSERT INTO ledger_entries ({columns}) SELECT {columns} FROM aside")
    assert line.both() == (set(), set())
    # A call vanishes between the wire and the journal; another goes on.
    vanished, up = "sim1-1795000000-1795608000.1", "sim1-1795000000-1795608000.2"
    world.admit(vanished, up, routed_ago=timedelta(days=1))  # the test's clock is ahead of the servers'
    world.hear("sim1", up, ago_seconds=-86_400)
    assert line.both() == ({f"{vanished}/0"}, {f"{vanished}/0"})
    report = line.whole()
    assert (report.calls_open.up, report.calls_open.not_verified) == (1, 0)
    world.sql("UPDATE node_calls SET heard_at = now() - interval '1 hour'")
    report = line.whole()
    assert [one.kind for one in report.differences] == ["not verified: calls of a silent node"]
    assert report.calls_open.not_verified == 2
    world.clickhouse("ALTER TABLE decisions DELETE WHERE true")
    world.sql("DELETE FROM audit_open_calls")
    assert line.both() == (set(), set())
    # A CDR is doubled: the same leg in another place of the sorting key.
    double = "SELECT * REPLACE (start_time + INTERVAL 1 SECOND AS start_time) FROM legs"
    world.clickhouse(f"INSERT INTO legs {double} WHERE leg_id = '{victim.leg_id}'")
    world.sql("UPDATE audit_hours SET compared = false")
    assert line.both() == ({victim.leg_id}, {victim.leg_id})
    start = f"fromUnixTimestamp64Milli({victim.ended.started_at_ms}, 'UTC')"
    world.clickhouse(f"ALTER TABLE legs DELETE WHERE leg_id = '{victim.leg_id}' AND start_time > {start}")
    assert line.both() == (set(), set())


async def test_what_is_sealed_is_recounted_by_its_manifests_and_the_range_is_named(line: Line) -> None:
    world = line.world
    opened, discarded = await traffic(line)
    assert line.both() == ({opened.leg_id}, {opened.leg_id})
    before = line.whole()
    world.now += OLD
    world.run()
    commit_all(world.settings.kafka)
    line.decide(opened.leg_id, "discarded")
    seal(line)
    assert all(first == end for first, end in offsets_of(world.settings.kafka, RATED_LEGS))
    world.now += timedelta(minutes=6)
    late = [rate_leg(leg) for leg in make_legs_again(line, 3)]
    repeated = [leg for leg in line.rated if leg.leg_id not in (opened.leg_id, discarded.leg_id)][:5]
    await line.flow([*late, *repeated])
    assert line.both() == (set(), set())
    report = line.whole()
    assert report.ok, report.differences
    assert report.legs.sealed_rated == before.legs.ledger
    assert (report.legs.rated, report.legs.cdr) == (before.legs.rated + len(late), before.legs.cdr + len(late))
    rows = {row.side: row.rated_micros for row in report.money}
    for row in before.money:
        more = sum(leg.amount_micros for leg in late if leg.side == row.side)
        assert rows[row.side] == row.rated_micros + more
    named = msgspec.json.decode(report_json(report))["range"]
    first = datetime.fromtimestamp(min(leg.ended_at_ms for leg in line.ended) // 1000, UTC)
    assert named["journals"] == {"sim1": {"first_at": first.strftime("%Y-%m-%dT%H:%M:%SZ"), "sealed_legs": 0}}
    retained = {one["partition"]: one for one in named["topics"]["rated-legs"]}
    assert sum(one["sealed_legs"] for one in retained.values()) == before.legs.ledger
    for number, (first, end) in enumerate(offsets_of(world.settings.kafka, RATED_LEGS)):
        assert retained[number]["first_offset"] == first
        assert (retained[number]["first_at"] is None) == (first == end)
    # A leg of what is sealed is lost: its CDR names it, and the manifests say in which range.
    victim = next(leg for leg in line.rated[60:] if leg.side == "payable" and leg.amount_micros)
    at = f"reference = '{victim.leg_id}'"
    world.sql(
        f"CREATE TABLE aside AS SELECT * FROM ledger_entries WHERE {at}", f"DELETE FROM ledger_entries WHERE {at}"
    )
    report = line.whole()
    kinds = {one.kind: one for one in report.differences}
    assert kinds["CDR of no rated leg"].leg_id == victim.leg_id
    assert "legs sealed" in kinds["sealed rated legs and ledger differ"].detail
    world.sql("INSERT INTO ledger_entries SELECT * FROM aside")
    assert line.whole().ok
    world.sql("DELETE FROM topic_segment_money", "DELETE FROM topic_segments WHERE topic = 'rated-legs'")
    report = line.whole()
    assert "messages deleted without a seal" in {one.kind for one in report.differences}, report.differences


def seal(line: Line) -> None:
    for _ in range(100):
        if not line.world.auditor.seal():
            return
    raise AssertionError("sealing has no end")


def make_legs_again(line: Line, calls: int) -> list[Ended]:
    """Calls of another hour, journalled."""
    from made_legs import Parties

    rows = line.world.sql("SELECT company_id, account_id FROM accounts WHERE company_id IS NOT NULL")
    parties = Parties({int(str(company)): int(str(account)) for company, account in rows})
    legs = make_legs(parties, line.chosen.randrange(100, 1000), calls, 1_795_616_000_000)
    with (line.directory / "sim1" / "journal" / "Master.csv").open("ab") as journal:
        for leg in legs:
            journal.write(journal_line(leg))
    return legs
