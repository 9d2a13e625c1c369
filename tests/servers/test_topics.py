"""The topics on a real broker: made once, also by two at once, and refused when they differ."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaConsumer, KafkaProducer

from runtime.connections import Kafka
from runtime.topics import TopicError, make_topics
from schemas.topics import TOPICS, Topic

pytestmark = pytest.mark.servers


def test_they_are_made_once(kafka: Kafka, delete_topics: Callable[[], None]) -> None:
    delete_topics()
    assert make_topics(kafka) == [topic.name for topic in TOPICS]
    assert make_topics(kafka) == []


def test_two_at_once_do_not_hinder_each_other(kafka: Kafka, delete_topics: Callable[[], None]) -> None:
    for _ in range(3):
        delete_topics()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(make_topics, [kafka, kafka]))
        assert make_topics(kafka) == []


def test_another_number_of_partitions_is_an_error(kafka: Kafka) -> None:
    with pytest.raises(TopicError, match="topic calls has 8 partitions, the setting says 4"):
        make_topics(kafka.model_copy(update={"partitions": 4}))


def test_another_retention_is_an_error(kafka: Kafka) -> None:
    compacted = [Topic(topic.name, topic.holds, topic.keyed_by, topic.framed, True) for topic in TOPICS]
    with pytest.raises(TopicError, match=r"topic calls: cleanup\.policy is 'delete', it must be 'compact'"):
        make_topics(kafka, compacted)


def test_a_broker_that_is_away_is_an_error() -> None:
    with pytest.raises(TopicError, match=r"Kafka at 127\.0\.0\.1:9 does not answer"):
        make_topics(Kafka(bootstrap="127.0.0.1:9"))


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_empty_topics(kafka: Kafka, turn: int) -> None:
    producer = KafkaProducer(**kafka.client())
    producer.send("calls", b"only one", partition=3).get(10)
    producer.close()
    consumer = KafkaConsumer("calls", **kafka.client(), auto_offset_reset="earliest", group_id=None)
    records = consumer.poll(timeout_ms=5000)
    consumer.close()
    assert [record.offset for found in records.values() for record in found] == [0]
