"""Topic retention: ranges older than they are to be kept are sealed by a manifest, then deleted. Never by age alone.

A range is sealed when all of its legs are settled (rated, ledger and CDR alike, or discarded), every reader has done
with it, and nobody has still to decide about a dead letter of it. Killed between any two of its steps, the sealer goes
on: a manifest without a deletion is deleted by, a deletion is repeated and changes nothing.
"""

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
import structlog
from clickhouse_connect.driver.client import Client
from kafka.errors import KafkaError

from runtime.metrics import counter, gauge
from schemas.topics import RATED_LEGS
from sinks.audit.continuous import seal_fold, seal_rows
from sinks.audit.continuous.cdrs import wrong_cdrs
from sinks.audit.continuous.fold import Waiting, hour_of
from sinks.audit.continuous.seal_fold import Known
from sinks.audit.continuous.seal_rows import Place
from sinks.audit.continuous.seal_topics import SealTopics
from sinks.audit.continuous.settings import AuditorSettings
from sinks.audit.continuous.store import ms_of

log = structlog.get_logger(__name__)
MOST_LEGS: Final = 20_000  # of one range
_RETRY: Final = timedelta(minutes=5)  # what is not settled is looked at again
BLOCKED: Final = gauge("audit_seals_blocked", "Partitions with messages past their retention that cannot be sealed.")
SEALED_MESSAGES: Final = counter("audit_sealed_messages", "Messages that were sealed and deleted from their topics.")


class Sealer:
    """`step` seals one range at most. `close` lets go of the broker; the next step connects anew."""

    def __init__(self, settings: AuditorSettings, open_topics: Callable[[], SealTopics] | None = None) -> None:
        """`open_topics`: how Kafka is reached."""
        self._settings = settings
        self._open = open_topics or (lambda: SealTopics(settings.kafka))
        self._topics: SealTopics | None = None
        self._again: dict[Place, datetime] = {}  # partitions that are blocked, and when they are looked at again

    def step(self, connection: psycopg.Connection[Any], client: Client, now: datetime) -> bool:
        """Delete what is sealed, seal the next range; whether there may be more. Raises what the stores' clients do.

        `connection` must be in autocommit mode, and of the auditor that has the lock.
        """
        if self._topics is None:
            self._topics = self._open()
        topics = self._topics
        beginnings = topics.beginnings()
        # Whole hours, so that an hour makes one manifest a partition.
        limits = topics.older_than(hour_of(ms_of(now) - round(self._settings.topic_seconds * 1000)))
        for partition, offset in enumerate(seal_rows.position(connection) or [0] * self._settings.kafka.partitions):
            place = (RATED_LEGS.name, partition)
            limits[place] = min(limits.get(place, 0), offset)
        for waiting in seal_rows.to_delete(connection):
            self._delete(connection, topics, waiting, beginnings[waiting.topic, waiting.partition])
        ends = seal_rows.ends(connection)
        self._again = {place: at for place, at in self._again.items() if at > now}
        for place, limit in sorted(limits.items()):
            first = max(ends.get(place, 0), beginnings[place])
            if first < limit and place not in self._again:
                if not self._seal(connection, client, topics, place, first, limit):
                    self._again[place] = now + _RETRY
                BLOCKED.set(len(self._again))
                return True
        BLOCKED.set(len(self._again))
        return False

    def _seal(
        self,
        connection: psycopg.Connection[Any],
        client: Client,
        topics: SealTopics,
        place: Place,
        first: int,
        end: int,
    ) -> bool:
        """Seal the settled part of a range and delete it; whether there was any."""
        topic, partition = place
        messages, behind = topics.read(topic, partition, first, end, MOST_LEGS)
        legs = seal_fold.highest(messages)
        known = self._known(connection, client, place, legs, messages)
        settled, why = seal_fold.settled_part(messages, legs, topic, partition, known)
        if why:
            log.warning("a range of a topic is past its retention and is not settled", topic=topic, partition=partition,
                        why=why)  # fmt: skip
            behind = messages[len(settled)].offset
        if not settled:
            return False
        sealed = seal_fold.manifest(topic, partition, first, behind, settled, known)
        seal_rows.keep(connection, topic, partition, sealed)
        log.info("sealed", topic=topic, partition=partition, first=first, end=behind, legs=sealed.legs)
        self._delete(connection, topics, seal_rows.ToDelete(topic, partition, behind), first)
        SEALED_MESSAGES.inc(sealed.messages)
        return not why

    def _known(
        self,
        connection: psycopg.Connection[Any],
        client: Client,
        place: Place,
        legs: dict[str, seal_fold.Closing],
        messages: list[seal_fold.Message],
    ) -> Known:
        """What the stores say of the range."""
        origins = [origin for message in messages for origin in (*message.letters, *message.unreadable)]
        letters = seal_rows.letters_of(connection, *place, legs.keys(), origins)
        partitions = self._settings.kafka.partitions
        rated = [
            Waiting(leg.leg_id, 0, leg.micros, leg.revision, 0, leg.started_at_ms)
            for leg in legs.values()
            if leg.micros is not None
        ]
        return Known(
            entries=seal_rows.entries_of(
                connection, legs.values(), [letter.leg_id for letter in letters if letter.leg_id], partitions
            ),
            letters=letters,
            wrong_cdrs=wrong_cdrs(client, 0, rated),
            differing=seal_rows.differing(connection, legs.keys()) if legs else frozenset(),
        )

    def _delete(
        self, connection: psycopg.Connection[Any], topics: SealTopics, sealed: seal_rows.ToDelete, beginning: int
    ) -> None:
        if beginning < sealed.before_offset:
            topics.delete(*sealed)
        seal_rows.set_deleted(connection, sealed)

    def close(self) -> None:
        """Let go of the broker."""
        held, self._topics = self._topics, None
        if held is not None:
            with contextlib.suppress(KafkaError, OSError):
                held.close()
