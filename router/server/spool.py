"""Decisions on their way to Kafka; what the broker does not take at once waits in a bounded SQLite file.

A decision explains a call and never bills it, so a call never waits for one: the session hands it over and goes on;
a thread sends batches. Kafka away: they are written to the file, which grows to its limit, then the oldest go, and are
counted. A router killed by -9 loses the explanations of its last batch.
"""

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from runtime.connections import Kafka
from runtime.metrics import Bounded, counter
from schemas.frame import pack_partitions
from schemas.topics import DECISIONS

log = structlog.get_logger(__name__)
_QUEUE_LIMIT: Final = 20_000  # decisions between the sessions and the thread
_BATCH: Final = 2_000
_AT_ONCE: Final = 32  # made into events before the sessions have their turn, which they have after 0.5 ms in any case
_WAIT_SECONDS: Final = 0.1
_SEND_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
Waiting = tuple[str, Callable[[], bytes]]  # a call's id, and what makes its event's bytes
QUEUED: Final = Bounded("router_decisions_queued", "Decisions between the sessions and the spool's thread.")
UNWRITTEN: Final = counter(
    "router_decisions_unwritten", "Decisions dropped because neither Kafka nor the spool's disk took them."
)
SPOOLED: Final = Bounded("router_decisions_spooled", "Decisions in the spool's file, waiting for Kafka.")


class Spool:
    """Takes decisions from any thread; one thread of its own writes and sends them."""

    def __init__(self, path: Path, kafka: Kafka, limit: int) -> None:
        """`path`: the SQLite file, kept over restarts. `limit`: how many decisions may wait."""
        self._path = path
        self._kafka = kafka
        self._limit = limit
        # No lock and no bell: a thread that is woken by each decision costs the sessions more than the decision does.
        self._queue: deque[Waiting] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._producer: KafkaProducer | None = None
        self._retry_at = self._drain_at = 0.0
        self._sent_id = 0  # up to here the file's decisions are with the broker
        self.dropped = 0
        self.waiting = 0
        QUEUED.watch(_QUEUE_LIMIT, lambda: len(self._queue))
        SPOOLED.watch(limit, lambda: self.waiting)

    def start(self) -> None:
        """Start the thread."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def put(self, call_id: str, render: Callable[[], bytes]) -> None:
        """Hand a decision over; its event is made in the thread. Never blocks: full, it is dropped and counted."""
        if len(self._queue) >= _QUEUE_LIMIT:
            QUEUED.lose()
            self._drop(1)
        else:
            self._queue.append((call_id, render))

    def stop(self, seconds: float = 5.0) -> None:
        """Write what is queued, send what can be sent at once, and end the thread."""
        self._ending.set()
        self._thread.join(seconds)

    def _drop(self, count: int) -> None:
        self.dropped += count
        log.error("decisions dropped: Kafka does not take them and the spool is full", dropped=self.dropped)

    def _run(self) -> None:
        database: sqlite3.Connection | None = None
        going_on = True
        while going_on:
            database = database or self._open()
            going_on, batch = self._take()
            direct = self._producer is not None and not self.waiting and self._deliver(batch)
            # A file that takes none keeps no decision from a broker that does.
            if not direct and not self._store(database, batch) and not self._deliver(batch):
                self.dropped += len(batch)
                UNWRITTEN.inc(len(batch))
                log.error("decisions dropped: neither Kafka nor the spool's file takes them", count=len(batch))
            if database is not None and self.waiting and time.monotonic() >= max(self._drain_at, self._retry_at):
                self._drain(database)
        _close(self._producer, seconds=1)
        if database is not None:
            database.close()

    def _deliver(self, batch: Sequence[tuple[str, bytes]]) -> bool:
        """Has the broker all of it now? Where it was away a moment ago it is not asked again."""
        if not batch:
            return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._producer = self._producer or self._make_producer()
            self._send_events(self._producer, batch)
        except (KafkaError, OSError) as error:
            log.warning("decisions wait: Kafka away", error=repr(error)[:200], waiting=self.waiting)
            _close(self._producer, seconds=0)
            self._producer, self._retry_at = None, time.monotonic() + _RETRY_SECONDS
            return False
        return True

    def _drain(self, database: sqlite3.Connection) -> None:
        """Send what waits, oldest first; it leaves the file only when the broker has all of it."""
        try:
            self._forget(database)
            rows = database.execute(
                "SELECT id, call_id, event FROM decisions ORDER BY id LIMIT ?", (_BATCH,)
            ).fetchall()
            if self._deliver([(call_id, event) for _, call_id, event in rows]):
                self._sent_id = rows[-1][0] if rows else 0
                self._forget(database)
        except sqlite3.Error as error:
            log.error("decisions wait: the spool's file does not work", error=str(error), waiting=self.waiting)  # noqa: TRY400
            self._drain_at = time.monotonic() + _RETRY_SECONDS

    def _forget(self, database: sqlite3.Connection) -> None:
        """Delete what was sent. Where that fails it is not sent again by this process, but deleted later."""
        if self._sent_id:
            self.waiting -= database.execute("DELETE FROM decisions WHERE id <= ?", (self._sent_id,)).rowcount
            self._sent_id = 0

    def _open(self) -> sqlite3.Connection | None:
        """The file; None where it cannot be written now: it is tried again with the next batch."""
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS decisions (id INTEGER PRIMARY KEY, call_id TEXT, event BLOB)")
        except sqlite3.Error as error:
            log.error("the spool's file cannot be opened", path=str(self._path), error=str(error))  # noqa: TRY400
            database.close()
            return None
        return database

    def _make_producer(self) -> KafkaProducer:
        return KafkaProducer(
            **self._kafka.client(),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            bootstrap_timeout_ms=1_000,
            request_timeout_ms=5_000,
            delivery_timeout_ms=int(_SEND_SECONDS * 1000),
            max_block_ms=5_000,
            max_request_size=4 << 20,
        )

    def _take(self) -> tuple[bool, list[tuple[str, bytes]]]:
        """One batch from the queue. False: the spool is to end."""
        if len(self._queue) < _BATCH:
            self._ending.wait(_WAIT_SECONDS)
        batch: list[tuple[str, bytes]] = []
        while self._queue and len(batch) < _BATCH:
            call_id, render = self._queue.popleft()
            batch.append((call_id, render()))
            if len(batch) % _AT_ONCE == 0:
                time.sleep(0)  # a session that is ready need not wait until this thread is made to give way
        return not self._ending.is_set() or bool(self._queue), batch

    def _store(self, database: sqlite3.Connection | None, batch: list[tuple[str, bytes]]) -> bool:
        """A batch into the file. False: it takes none."""
        if database is None:
            return False
        try:
            self._write(database, batch)
        except sqlite3.Error as error:
            log.error("the spool's file takes none", error=str(error), count=len(batch))  # noqa: TRY400
            with contextlib.suppress(sqlite3.Error):  # most errors have rolled back already
                database.execute("ROLLBACK")
            return False
        return True

    def _write(self, database: sqlite3.Connection, batch: list[tuple[str, bytes]]) -> None:
        if batch:
            database.execute("BEGIN")
            database.executemany("INSERT INTO decisions (call_id, event) VALUES (?, ?)", batch)
            database.execute("COMMIT")
        self.waiting = database.execute("SELECT count(*) FROM decisions").fetchone()[0]
        if self.waiting > self._limit:
            surplus = self.waiting - self._limit
            database.execute(
                "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions ORDER BY id LIMIT ?)", (surplus,)
            )
            SPOOLED.lose(surplus)
            self._drop(surplus)

    def _send_events(self, producer: KafkaProducer, batch: Sequence[tuple[str, bytes]]) -> None:
        """Send, and return when the broker has all of it. Raises KafkaError, OSError."""
        if not batch:
            return
        sent = [
            producer.send(DECISIONS.name, value=frame, partition=partition)
            for partition, frame in pack_partitions(batch, self._kafka.partitions)
        ]
        producer.flush(timeout=_SEND_SECONDS)
        for future in sent:
            future.get(timeout=_SEND_SECONDS)


def _close(producer: KafkaProducer | None, seconds: float) -> None:
    """Let it go. It flushes first, and raises when nobody takes that; what waits is in the file all the same."""
    if producer is not None:
        with contextlib.suppress(KafkaError):
            producer.close(timeout=seconds)
