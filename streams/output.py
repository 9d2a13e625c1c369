"""Sending from an agent: every message is waited for before anything is acknowledged."""

import asyncio
from collections.abc import Iterable
from typing import Any

import psycopg
import structlog

from schemas.events import DeadLetter, RatedLeg, encode_event
from schemas.frame import pack_partitions
from sinks.dead_letters.messages import dead_letter_messages
from sinks.dead_letters.store import Limits, keep_letters_within
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)


class DeadLetters:
    """The way out for what cannot be processed: the topic of dead letters and their table, or the end of the worker.

    The limits hold for all workers together, and over restarts: what counts are the letters that are open in the table.
    """

    def __init__(self, topic: Any, settings: StreamsSettings) -> None:
        """`topic` is a Faust topic of raw bytes."""
        self._topic = topic
        self._partitions = settings.kafka.partitions
        self._dsn = settings.dsn
        self._limits = limits_of(settings)
        self._send_seconds = settings.send_seconds

    async def send(self, letters: list[DeadLetter]) -> None:
        """Write the letters that are new, and return when broker and database have them.

        Raises TooManyDeadLettersError before the first one too many, psycopg.Error and Kafka's errors: then none counts
        as written, and the worker ends without an acknowledgement.
        """
        if not letters:
            return
        # Whoever is stopped while he holds the limit's lock must not keep all others from their dead letters.
        bound_ms = int(self._send_seconds * 1000) + 5_000
        async with await psycopg.AsyncConnection.connect(
            self._dsn,
            connect_timeout=5,
            application_name="streams-dead-letters",
            options=f"-c idle_in_transaction_session_timeout={bound_ms} -c statement_timeout={bound_ms}",
        ) as connection:
            # In the table first, uncommitted: what the topic then refuses is rolled back with the transaction, and what
            # is in both already (read again after a crash) is not written again.
            kept = await keep_letters_within(connection, letters, self._limits)
            # What has no room in its peer's limit goes to the topic alone, and waits there: more than once, should this
            # be done again.
            written = {*kept.new, *(letter.origin for letter in kept.waiting)}
            unwritten = {letter.origin: letter for letter in letters if letter.origin in written}
            for letter in unwritten.values():
                log.warning("dead letter", origin=letter.origin, reason=letter.reason, leg_id=letter.leg_id)
            messages = dead_letter_messages(unwritten.values(), self._partitions)
            await send_all(self._topic, messages, self._send_seconds)


def limits_of(settings: StreamsSettings) -> Limits:
    """How many letters may be open."""
    return Limits(settings.max_dead_letters, settings.max_peer_letters)


async def send_all(topic: Any, messages: Iterable[tuple[int, bytes]], seconds: float) -> None:
    """Produce (partition, message) pairs, and wait until the broker has acknowledged each. Raises TimeoutError."""
    async with asyncio.timeout(seconds):  # of the sending too: without a topic it waits for its partitions
        sent = [await topic.send(key=None, value=message, partition=partition) for partition, message in messages]
        await asyncio.gather(*sent)


def rated_messages(legs: Iterable[RatedLeg], partitions: int) -> list[tuple[int, bytes]]:
    """(partition, message) for the topic of rated legs: framed, all legs of an account in one partition."""
    return pack_partitions(((str(leg.account_id), encode_event(leg)) for leg in legs), partitions)
