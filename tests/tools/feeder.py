"""Produces legs to `calls` at a steady rate, beside a test."""

import threading
import time
from collections.abc import Sequence

from kafka import KafkaProducer
from made_legs import Ended

from runtime.connections import Kafka
from schemas.events import encode_event
from schemas.frame import pack_frames, partition_of
from schemas.topics import CALLS


def call_messages(ended: Sequence[Ended], partitions: int, in_a_frame: int) -> list[tuple[int, bytes]]:
    """(partition, message) of `calls` for these legs, in their order within each partition."""
    waiting: dict[int, list[bytes]] = {}
    messages: list[tuple[int, bytes]] = []
    for leg in ended:
        partition = partition_of(leg.call_id, partitions)
        waiting.setdefault(partition, []).append(encode_event(leg))
        if len(waiting[partition]) >= in_a_frame:
            messages += [(partition, frame) for frame in pack_frames(waiting.pop(partition))]
    return messages + [(partition, frame) for partition, raws in waiting.items() for frame in pack_frames(raws)]


class Feeder:
    """Produces legs to `calls` over some seconds, in a thread. `finish` waits for the last, and raises its error."""

    def __init__(self, kafka: Kafka, ended: Sequence[Ended], seconds: float, in_a_frame: int = 10) -> None:
        self._kafka = kafka
        self._messages = call_messages(ended, kafka.partitions, in_a_frame)
        self._seconds = seconds
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="feeder", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            producer = KafkaProducer(**self._kafka.client(), acks="all", linger_ms=5)
            begun = time.monotonic()
            sent = []
            for number, (partition, message) in enumerate(self._messages):
                due = begun + self._seconds * number / len(self._messages)
                time.sleep(max(0.0, due - time.monotonic()))
                sent.append(producer.send(CALLS.name, value=message, partition=partition))
            producer.flush(60)
            for one in sent:
                one.get(1)
            producer.close()
        except BaseException as error:
            self._error = error

    @property
    def busy(self) -> bool:
        """Is there more to come?"""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Everything is in Kafka when this returns."""
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
