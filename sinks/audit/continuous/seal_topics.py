"""Sealing, Kafka's side: what may go, what stands in it, and its deletion (DeleteRecords)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from runtime.connections import Kafka
from runtime.topics import require_reachable
from schemas.topics import SEALED, Topic
from sinks.audit.continuous.seal_fold import Message, read
from sinks.audit.continuous.seal_rows import Place

_ANSWER_MS: Final = 15_000
_POLLED: Final = 500
_LONGEST_POLLS: Final = 60  # half seconds


class SealTopics:
    """Opened once; `close` lets it go. Raises TopicError, later kafka's own errors, when the broker is away."""

    def __init__(self, kafka: Kafka, topics: Mapping[Topic, tuple[str, ...]] = SEALED) -> None:
        require_reachable(kafka)
        self._readers = {topic.name: groups for topic, groups in topics.items()}
        self._partitions = [
            TopicPartition(name, number) for name in self._readers for number in range(kafka.partitions)
        ]
        where = {**kafka.client(), "request_timeout_ms": _ANSWER_MS}
        self._admin: Any = KafkaAdminClient(**where, bootstrap_timeout_ms=_ANSWER_MS)
        self._consumer: Any = KafkaConsumer(
            **where,
            bootstrap_timeout_ms=_ANSWER_MS,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=8 << 20,
            fetch_max_bytes=16 << 20,
        )

    def beginnings(self) -> dict[Place, int]:
        """The first message that each partition still has."""
        return _by_place(self._consumer.beginning_offsets(self._partitions))

    def older_than(self, at_ms: int) -> dict[Place, int]:
        """Before these offsets no message is of that moment or later, and every reader has done with each.

        A group of ours that has committed nothing keeps everything; any other group, what it has not read.
        """
        ends = self._consumer.end_offsets(self._partitions)
        times = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, at_ms))
        limits = {one: ends[one] if times[one] is None else times[one].offset for one in self._partitions}
        committed = self._committed()
        for one in self._partitions:
            for group, offsets in committed.items():
                if one in offsets:
                    limits[one] = min(limits[one], offsets[one])
                elif group in self._readers[one.topic]:
                    limits[one] = 0
        return _by_place(limits)

    def _committed(self) -> dict[str, dict[Any, int]]:
        """By group, what it has committed, of every group that the broker knows and of ours."""
        ours = {group for groups in self._readers.values() for group in groups}
        groups = sorted(ours | {group["group_id"] for group in self._admin.list_groups()})
        found = self._admin.list_group_offsets(dict.fromkeys(groups))
        return {
            group: {one: known.offset for one, known in found.get(group, {}).items() if known.offset >= 0}
            for group in groups
        }

    def read(self, topic: str, partition: int, first: int, end: int, most_legs: int) -> tuple[list[Message], int]:
        """The messages of [first, end), or as many as have about so many legs; and the offset behind the last one."""
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, first)
        messages: list[Message] = []
        legs = polls = 0
        behind = first
        while behind < end and legs < most_legs and polls < _LONGEST_POLLS:
            records: Sequence[Any] = self._consumer.poll(timeout_ms=500, max_records=_POLLED).get(place, ())
            for record in records:
                if record.offset >= end or legs >= most_legs:
                    break
                message = read(topic, partition, record.offset, record.timestamp, record.value)
                messages.append(message)
                legs += len(message.closings)
                behind = record.offset + 1
            else:
                behind = min(end, max(behind, self._consumer.position(place)))
            polls += not records
        return messages, behind

    def delete(self, topic: str, partition: int, before_offset: int) -> None:
        """Delete all before the offset. What is deleted already makes no difference. Raises KafkaError."""
        self._admin.delete_records({TopicPartition(topic, partition): before_offset}, timeout_ms=_ANSWER_MS)

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close(autocommit=False)
        self._admin.close()


def _by_place(offsets: Mapping[Any, int]) -> dict[Place, int]:
    return {(one.topic, one.partition): offset for one, offset in offsets.items()}
