"""The log read from a moment on, without a group: whoever keeps no more than a window makes it anew from here.

A window of the last minutes needs no table and no offsets of its own: what it was made of still lies in the topic, and
since each leg counts once whatever is read twice, a start, a restart and a second worker all come to the same sums.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from runtime.connections import Kafka
from runtime.topics import require_reachable
from schemas.events import AnyEvent, readable_events
from schemas.topics import Topic

_ANSWER_MS: Final = 10_000
_POLLED: Final = 200
_CHECK_SECONDS: Final = 3.0
# A message is not younger than what it tells of, but clocks of two machines differ.
_CLOCKS_MS: Final = 60_000


class LogReader:
    """Opened at the first message that may tell of `from_ms` or later.

    Raises TopicError, or KafkaError, where the broker does not answer.
    """

    def __init__(self, kafka: Kafka, topics: Sequence[Topic], from_ms: int, client_id: str) -> None:
        require_reachable(kafka)
        self._consumer: Any = KafkaConsumer(
            **kafka.client(),
            client_id=client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            request_timeout_ms=_ANSWER_MS,
            bootstrap_timeout_ms=_ANSWER_MS,
            reconnect_backoff_max_ms=1_000,
            max_partition_fetch_bytes=4 << 20,
            max_poll_records=_POLLED,
        )
        self._partitions = [TopicPartition(one.name, number) for one in topics for number in range(kafka.partitions)]
        self._consumer.assign(self._partitions)
        since_ms = max(0, from_ms - _CLOCKS_MS)
        self._begin = self._ask_ends()
        found = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, since_ms), timeout_ms=_ANSWER_MS)
        for part, end in self._begin.items():
            self._consumer.seek(part, found[part].offset if found.get(part) else end)
        self._asked_at = time.monotonic()
        self.complete = False

    def poll(self, wait_ms: int) -> Iterator[AnyEvent]:
        """The events of what is new. What cannot be read is billing's dead letter, and nothing here.

        `complete` once what lay there at the opening has been read. Raises what kafka-python raises.
        """
        if time.monotonic() - self._asked_at >= _CHECK_SECONDS:
            self._ask_ends()  # a broker that has gone is known by this, not by its silence
            self._asked_at = time.monotonic()
        for records in self._consumer.poll(timeout_ms=wait_ms).values():
            for record in records:
                yield from readable_events(record.value)
        if not self.complete:
            self.complete = all(
                self._consumer.position(part, timeout_ms=_ANSWER_MS) >= end for part, end in self._begin.items()
            )

    def _ask_ends(self) -> dict[Any, int]:
        return dict(self._consumer.end_offsets(self._partitions, timeout_ms=_ANSWER_MS))

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close(autocommit=False)
