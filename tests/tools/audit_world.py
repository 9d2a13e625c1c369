"""Real stores and an auditor over them, whose clock stands where the test sets it; legs put into each store by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient
from made_legs import insert_parties, make_legs, produce_events
from made_traffic import NAMES

import schemas
from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import RatedLeg, decode_event
from schemas.ids import node_of
from schemas.topics import RATED_LEGS, SEALED, Topic
from sinks.audit.continuous.main import Auditor, Run
from sinks.audit.continuous.seal_fold import read
from sinks.audit.continuous.settings import AuditorSettings
from sinks.cdrs import write_decisions, write_legs
from sinks.ledger import Ledger
from sinks.node_calls import list_calls
from streamco.embedded.temporary_users import as_user
from streams.folds.rating import rate_leg

# Ahead of what the real stores write down as now: to this auditor everything was posted a while ago.
START = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=8)


class World:
    """Real stores, and an auditor whose clock stands where the test sets it."""

    def __init__(self, settings: AuditorSettings) -> None:
        self.settings = settings
        self.now = START
        self.auditor = Auditor(settings, lambda: self.now)

    def rate(self, legs: list[RatedLeg]) -> None:
        produce_events(self.settings.kafka, RATED_LEGS, legs)

    async def post(self, legs: list[RatedLeg]) -> None:
        """Post them as billing does: with the places where the topic has them, if it has."""
        places = places_of(self.settings.kafka)
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            await Ledger(connection).post(legs, places)

    def write(self, legs: list[RatedLeg]) -> None:
        with connect(self.settings.clickhouse) as client:
            write_legs(client, legs, NAMES)

    def admit(self, *call_ids: str, reason: str = "", routed_ago: timedelta = timedelta()) -> None:
        """The router's decisions, stored now by the auditor's clock."""
        now_ms = round(self.now.timestamp() * 1000)
        routed_at_ms = now_ms - round(routed_ago.total_seconds() * 1000)
        example = decode_event((Path(schemas.__file__).parent / "examples" / "call_routed.json").read_bytes())
        decisions: list[Any] = [
            msgspec.structs.replace(
                example, call_id=call_id, node=node_of(call_id), routed_at_ms=routed_at_ms, reason=reason,
                event_id=f"{call_id}/0:call_routed",
            )
            for call_id in call_ids
        ]  # fmt: skip
        with connect(self.settings.clickhouse) as client:
            write_decisions(client, decisions, now_ms)

    def hear(self, node: str, *call_ids: str, ago_seconds: float = 0) -> None:
        """A heartbeat of a node, as its agent stores it, by the auditor's clock."""
        at = self.now - timedelta(seconds=ago_seconds)
        with psycopg.connect(self.dsn) as connection:
            list_calls(connection, node, call_ids)
            connection.execute("UPDATE node_calls SET heard_at = %s WHERE node = %s", (at, node))

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


def places_of(kafka: Kafka) -> dict[tuple[str, int], int]:
    """Where each rated leg stands in its partition: the first place, by leg and revision."""
    places: dict[tuple[str, int], int] = {}
    consumer = KafkaConsumer(**kafka.client(), enable_auto_commit=False)
    partitions = [TopicPartition(RATED_LEGS.name, number) for number in range(kafka.partitions)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    while any(consumer.position(one) < end for one, end in ends.items()):
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                message = read(RATED_LEGS.name, record.partition, record.offset, record.timestamp, record.value)
                for leg in message.closings:
                    places.setdefault((leg.leg_id, leg.revision), record.offset)
    consumer.close()
    return places


def offsets_of(kafka: Kafka, topic: Topic) -> list[tuple[int, int]]:
    """Of each partition the first offset that it still has, and the one behind its last."""
    consumer = KafkaConsumer(**kafka.client())
    partitions = [TopicPartition(topic.name, number) for number in range(kafka.partitions)]
    first, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    consumer.close()
    return [(first[one], ends[one]) for one in partitions]


def commit(kafka: Kafka, group: str, topic: Topic, less: int = 0) -> None:
    """The group has done with all of the topic that there is, but for so many messages of each partition."""
    admin = KafkaAdminClient(**kafka.client())
    offsets = {
        TopicPartition(topic.name, number): OffsetAndMetadata(max(first, end - less), "", -1)
        for number, (first, end) in enumerate(offsets_of(kafka, topic))
    }
    admin.alter_group_offsets(group, offsets)
    admin.close()


def commit_all(kafka: Kafka) -> None:
    """Every reader of ours has done with everything."""
    for topic, groups in SEALED.items():
        for group in groups:
            commit(kafka, group, topic)


def rated_legs(world: World, seed: int = 1, calls: int = 60) -> list[RatedLeg]:
    """Legs whose parties are in the ledger."""
    return [rate_leg(leg) for leg in make_legs(insert_parties(world.dsn), seed, calls)]


def seal_everything(postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> None:
    """An auditor for whom all is past its retention: what the workers have done with is sealed and deleted."""
    settings = AuditorSettings(
        postgres=postgres, kafka=as_user(kafka, "auditor"), clickhouse=clickhouse, cdr_seconds=0, topic_seconds=0
    )
    auditor = Auditor(settings, lambda: datetime.now(UTC) + timedelta(hours=2))
    assert auditor.run().differences == []
    while auditor.seal():
        pass
    auditor.close()
