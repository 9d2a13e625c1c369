"""A compacted topic, or several, read whole from the beginning and followed: every reader has its own full copy."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from runtime.connections import Kafka
from runtime.topics import require_reachable
from schemas.topics import Topic

ANSWER_MS: Final = 4_000
_CHECK_SECONDS: Final = 3.0  # how often the broker is really asked
_POLLED: Final = 5_000


class TopicsRemadeError(Exception):
    """The topics are shorter than what was read of them: they were made anew, and all is to be read anew."""


class Message(NamedTuple):
    """One message; without a value it takes its key away."""

    topic: str
    key: bytes
    value: bytes | None


class CompactedReader:
    """Opened at the beginning. Raises KafkaError, or TopicError, where the broker is away."""

    def __init__(self, kafka: Kafka, topics: Sequence[Topic], client_id: str) -> None:
        require_reachable(kafka)
        self._consumer: Any = KafkaConsumer(
            **kafka.client(),
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # other offsets than those read so far: not a reset, all is read anew
            allow_auto_create_topics=False,
            request_timeout_ms=ANSWER_MS,
            bootstrap_timeout_ms=ANSWER_MS,
            reconnect_backoff_max_ms=1_000,
            max_poll_records=_POLLED,
        )
        self._partitions = [TopicPartition(one.name, number) for one in topics for number in range(kafka.partitions)]
        self._ends: dict[Any, int] | None = None
        self._asked_at = float("-inf")
        self.complete = False
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning(*self._partitions)

    def poll(self, wait_ms: int) -> list[Message]:
        """What is new, in the order of each partition. `complete` once the end, as of some moment, was reached.

        Raises TopicsRemadeError, and what kafka-python raises when the broker does not answer any more.
        """
        if time.monotonic() - self._asked_at >= _CHECK_SECONDS:
            self._ends = self._consumer.end_offsets(self._partitions, timeout_ms=ANSWER_MS)
            self._asked_at = time.monotonic()
            if any(self._position(part) > end for part, end in self._ends.items()):
                raise TopicsRemadeError("the topics are shorter than what was read of them")
        found = [
            Message(part.topic, record.key, record.value)
            for part, records in self._consumer.poll(timeout_ms=wait_ms).items()
            for record in records
            if record.key is not None
        ]
        if not self.complete and self._ends is not None:
            self.complete = all(self._position(part) >= end for part, end in self._ends.items())
        return found

    def _position(self, partition: Any) -> int:
        return int(self._consumer.position(partition, timeout_ms=ANSWER_MS))

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close(autocommit=False)
