"""What the stores have after a fault: numbers, offsets, letters, tables; and the closings that came to Kafka."""

from dataclasses import dataclass

import psycopg
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import CallEnded, DeadLetter, LegEnded, decode_event
from schemas.frame import unpack_frame
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS, Topic
from sinks.audit.full.sources import read_topic


@dataclass
class StoreViews:
    """The stores of one test."""

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse

    @property
    def dsn(self) -> str:
        """PostgreSQL's."""
        return self.postgres.dsn.get_secret_value()

    def count(self, statement: str) -> int:
        """A number of PostgreSQL."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            return int(row[0])

    def posted(self) -> int:
        """Entries of legs in the ledger."""
        return self.count("SELECT count(*) FROM ledger_entries WHERE kind = 'leg'")

    def ask(self, statement: str) -> int:
        """A number of ClickHouse."""
        with connect(self.clickhouse) as client:
            return int(client.query(statement).result_rows[0][0])

    def written(self) -> int:
        """Legs with a CDR."""
        return self.ask("SELECT count() FROM legs FINAL")

    def committed(self, role: str) -> dict[TopicPartition, int]:
        """What the group of a role has committed, as the broker knows it."""
        admin = KafkaAdminClient(**self.kafka.client())
        try:
            group = f"streamco-{role}"
            return {one: at.offset for one, at in admin.list_group_offsets([group])[group].items() if at.offset >= 0}
        finally:
            admin.close()

    def caught_up(self, role: str, topic: Topic) -> bool:
        """Has the group of a role committed all that is on a topic?"""
        partitions = [TopicPartition(topic.name, number) for number in range(self.kafka.partitions)]
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        try:
            ends = consumer.end_offsets(partitions)
        finally:
            consumer.close()
        committed = self.committed(role)
        return all(committed.get(one, 0) >= end for one, end in ends.items())

    def uncommitted(self) -> set[str]:
        """Legs in the ledger whose messages billing has not committed: what a kill now lets come again."""
        committed = self.committed("billing")
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        found: set[str] = set()
        try:
            partitions = [TopicPartition(RATED_LEGS.name, number) for number in range(self.kafka.partitions)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            for one in partitions:
                consumer.seek(one, committed.get(one, 0))
            while any(consumer.position(one) < end for one, end in ends.items()):
                for messages in consumer.poll(timeout_ms=300).values():
                    found |= {decode_event(raw).leg_id for one in messages for raw in unpack_frame(one.value)}
        finally:
            consumer.close()
        with psycopg.connect(self.dsn) as connection:
            posted = connection.execute("SELECT reference FROM ledger_entries WHERE kind = 'leg'").fetchall()
        return found & {leg_id for (leg_id,) in posted}

    def table(self, topic: Topic) -> dict[str, bytes]:
        """What a compacted topic comes to: the last value of each key, without those that were deleted."""
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        values: dict[str, bytes] = {}
        try:
            partitions = [TopicPartition(topic.name, number) for number in range(self.kafka.partitions)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning(*partitions)
            while any(consumer.position(one) < end for one, end in ends.items()):
                for messages in consumer.poll(timeout_ms=300).values():
                    for message in messages:
                        values.pop(message.key.decode(), None)
                        if message.value is not None:
                            values[message.key.decode()] = message.value
        finally:
            consumer.close()
        return values

    def letters(self) -> dict[str, str]:
        """State of each dead letter of the table."""
        with psycopg.connect(self.dsn) as connection:
            return dict(connection.execute("SELECT origin, state FROM dead_letters").fetchall())

    def letters_in_topic(self) -> set[str]:
        """Origins in the topic of dead letters."""
        return {one.origin for one in read_topic(self.kafka, DEAD_LETTERS) if isinstance(one, DeadLetter)}

    def closings(self) -> list[LegEnded | CallEnded]:
        """All closing events on `calls`, repeats included."""
        return [event for event in read_topic(self.kafka, CALLS) if isinstance(event, LegEnded | CallEnded)]

    def repeats(self) -> int:
        """How many closing events have arrived that were there already."""
        ids = [event.event_id for event in self.closings()]
        return len(ids) - len(set(ids))
