"""Sends the relay's messages to Kafka, and says only then that they are there when the broker has said so."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from agent.outbox import Message
from runtime.connections import Kafka


class KafkaAwayError(Exception):
    """The broker has not acknowledged all of it; whether it has some is not known."""


class Sender(Protocol):
    """What the relay sends by."""

    def send(self, messages: Sequence[Message]) -> None:
        """Return when the broker has all of them. Without messages: when there is a broker. Raises KafkaAwayError."""

    def close(self) -> None:
        """Let go of the broker."""


class KafkaSender:
    """One idempotent producer, acks=all; after any failure a new one is made at the next call."""

    def __init__(self, kafka: Kafka, send_seconds: float) -> None:
        """`send_seconds`: after so long without an acknowledgement a message counts as not sent."""
        self._kafka = kafka
        self._seconds = send_seconds
        self._producer: KafkaProducer | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """See Sender."""
        try:
            if self._producer is None:
                self._producer = self._connect()
            sent = [
                self._producer.send(message.topic, value=message.value, partition=message.partition)
                for message in messages
            ]
            if sent:
                self._producer.flush(timeout=self._seconds)
            for future in sent:
                future.get(timeout=self._seconds)
        except (KafkaError, OSError) as error:
            self.close()
            raise KafkaAwayError(repr(error)[:300]) from error

    def close(self) -> None:
        """Close the producer; what it had not sent is not sent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # It flushes first, and says so by an error when there is nobody to flush to: that is known here.
            with contextlib.suppress(KafkaError):
                producer.close(timeout=0)

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            **self._kafka.client(),
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            batch_size=1 << 19,
            bootstrap_timeout_ms=2_000,
            request_timeout_ms=int(self._seconds * 500),
            delivery_timeout_ms=int(self._seconds * 1000),
            max_block_ms=int(self._seconds * 500),
            reconnect_backoff_max_ms=1_000,
            max_request_size=4 << 20,
        )
