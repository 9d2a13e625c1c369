"""The topic of rated legs, read on from a position. One consumer without a group; positions are the auditor's own."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from runtime.connections import Kafka
from runtime.topics import require_reachable
from schemas.events import RatedLeg, readable_events
from schemas.topics import RATED_LEGS
from sinks.audit.continuous.fold import Rated

BILLING_GROUP: Final = "streamco-billing"  # its committed offsets: what lies before them has been posted
_ANSWER_MS: Final = 15_000
_POLLED: Final = 500


class Batch(NamedTuple):
    """Rated legs, the positions behind them, and whether that was all that there was."""

    legs: list[Rated]
    offsets: list[int]
    complete: bool


class RatedReader:
    """Opened once; `close` lets it go. Raises TopicError, later kafka's own errors, when the broker is away."""

    def __init__(self, kafka: Kafka) -> None:
        require_reachable(kafka)
        self._consumer: Any = KafkaConsumer(
            **kafka.client(),
            group_id=BILLING_GROUP,  # only to ask for its offsets: nothing is subscribed to, nothing committed
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=8 << 20,
            fetch_max_bytes=64 << 20,
            request_timeout_ms=_ANSWER_MS,
            bootstrap_timeout_ms=_ANSWER_MS,
        )
        self._partitions = [TopicPartition(RATED_LEGS.name, number) for number in range(kafka.partitions)]
        self._consumer.assign(self._partitions)

    def posted_offsets(self) -> list[int]:
        """Of each partition the first message that may not have been posted yet."""
        first = self._consumer.beginning_offsets(self._partitions)
        return [max(first[one], self._consumer.committed(one) or 0) for one in self._partitions]

    def read(self, offsets: Sequence[int], most_messages: int) -> Batch:
        """From these positions on to the topic's end as it is now, or until there are that many messages."""
        ends = self._consumer.end_offsets(self._partitions)
        behind = dict(zip(self._partitions, offsets, strict=True))
        for partition, offset in behind.items():
            self._consumer.seek(partition, offset)
        legs: list[Rated] = []
        messages = 0
        while messages < most_messages and any(behind[partition] < end for partition, end in ends.items()):
            most = min(_POLLED, most_messages - messages)
            for partition, records in self._consumer.poll(timeout_ms=500, max_records=most).items():
                for record in records:
                    legs += rated_legs(record.value)
                messages += len(records)
                behind[partition] = records[-1].offset + 1
        complete = all(behind[partition] >= end for partition, end in ends.items())
        return Batch(legs, [behind[partition] for partition in self._partitions], complete)

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close(autocommit=False)


def rated_legs(message: bytes | None) -> list[Rated]:
    """The rated legs of a message; what cannot be read is a dead letter of billing's, and none here."""
    return [
        Rated(leg.leg_id, leg.revision, leg.account_id, leg.amount_micros, leg.ended.started_at_ms)
        for leg in readable_events(message)
        if isinstance(leg, RatedLeg)
    ]
