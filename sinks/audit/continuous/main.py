"""The auditor's process: one run after the other, each kept whole or not at all. One auditor works at a time.

A store that is away is no difference: the run is not made, the next one reads on from where the last one stood.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from clickhouse_connect.driver.client import Client
from kafka.errors import KafkaError

from runtime.clickhouse import connect
from runtime.heartbeat import send_beat
from runtime.locks import AUDITOR
from runtime.metrics import Bounded, gauge
from sinks.audit.continuous import fold, hours, journals, letters, posted, store
from sinks.audit.continuous.calls import Patience
from sinks.audit.continuous.cdrs import wrong_cdrs
from sinks.audit.continuous.fold import Difference, Waiting
from sinks.audit.continuous.open_calls import judge_calls, keep_decisions, unclosed_decisions
from sinks.audit.continuous.rated import RatedReader
from sinks.audit.continuous.sealer import Sealer
from sinks.audit.continuous.settings import AuditorSettings

log = structlog.get_logger(__name__)
MOST_ENTRIES: Final = 200_000  # of the ledger that one run counts; the rest is the next's, at once
_EXPIRED: Final = timedelta(minutes=10)  # a hold past its expiry is swept before
_REST: Final = timedelta(minutes=2)  # an hour that has not changed for so long is compared with its CDRs
_BEAT_SECONDS: Final = 1.0
_SEAL_SECONDS: Final = 60.0  # between two looks for something to seal
OK: Final = gauge("audit_ok", "1: the last run found all stores equal; 0: it did not.")
DIFFERENCES: Final = gauge("audit_differences", "Differences that the last run found.")
AT: Final = gauge("audit_run_at_seconds", "When the last run was made, in unix seconds.")
SECONDS: Final = gauge("audit_run_seconds", "How long the last run took.")
WAITING: Final = Bounded(
    "audit_waiting", "Legs that one side has shown and another not yet; at the bound none is read."
)
OPEN: Final = Bounded("audit_open_calls", "Admitted calls without an end; at the bound no further decision is read.")


class Run(NamedTuple):
    """What a run came to. `more`: there is more to read at once."""

    differences: list[Difference]
    counts: dict[str, int]
    more: bool


class Auditor:
    """The runs of one process. `close` lets go of the servers."""

    def __init__(self, settings: AuditorSettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Connects at the first run, and again after a failure."""
        self._settings = settings
        self._clock = clock
        self._connection: psycopg.Connection[Any] | None = None
        self._rated: RatedReader | None = None
        self._client: Client | None = None
        self._waiting = self._open = 0
        self._patience = Patience(
            *(round(one * 1000) for one in (settings.young_seconds, settings.settle_seconds, settings.silent_seconds))
        )
        self._sealer = Sealer(settings)
        WAITING.watch(settings.most_waiting, lambda: self._waiting)
        OPEN.watch(settings.most_waiting, lambda: self._open)

    def run(self) -> Run:
        """One run, kept. Raises psycopg.Error, KafkaError, and what clickhouse-connect raises: nothing is kept then."""
        began = time.monotonic()
        connection, rated, client = self._servers()
        now = self._clock()
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            made = self._compare(connection, rated, client, now)
            seconds = time.monotonic() - began
            store.record(
                connection,
                at=now,
                seconds=seconds,
                counts=made.counts,
                differences=made.differences,
                keep_days=self._settings.keep_runs_days,
            )
        self._waiting = made.counts["waiting"]
        OK.set(not made.differences)
        DIFFERENCES.set(len(made.differences))
        AT.set(now.timestamp())
        SECONDS.set(seconds)
        for difference in made.differences[:20]:
            log.error("the audit differs", **difference._asdict())
        log.info("audit", ok=not made.differences, seconds=round(seconds, 3), **made.counts)
        return made

    def _compare(self, connection: psycopg.Connection[Any], rated: RatedReader, client: Client, now: datetime) -> Run:
        now_ms = store.ms_of(now)
        kept = store.load(connection)
        server = posted.server_of(connection)
        if kept is None or kept[0].server != server or len(kept[0].rated_offsets) != self._settings.kafka.partitions:
            kept = self._begin(connection, rated, server), {}
        position, waiting = kept
        # The last store on the line first: what is in flight is missing downstream, and never a surplus.
        window = posted.new_entries(connection, position.posted_xact, MOST_ENTRIES)
        found_wrong = posted.balance_differences(connection, position.posted_xact, now_ms)
        found_wrong += posted.hold_differences(connection, now - _EXPIRED, now_ms)
        most = self._settings.most_messages if len(waiting) < self._settings.most_waiting else 0
        batch = rated.read(position.rated_offsets, most)
        waiting = fold.take_posted(waiting, window.entries, now_ms)
        waiting = fold.match_ledger(fold.take_rated(waiting, batch.legs, now_ms))
        found = posted.find(connection, fold.to_look_up(waiting), window.horizon)
        waiting = fold.take_found(waiting, found)
        asked = fold.to_ask_for(waiting, now_ms - round(self._settings.cdr_seconds * 1000))
        wrong = wrong_cdrs(client, window.horizon, asked)
        waiting = fold.take_cdrs(waiting, asked, wrong)
        before_ms = now_ms - round(self._settings.settle_seconds * 1000)
        dead = posted.dead_letters_of(connection, _late(waiting, before_ms))
        waiting = {leg_id: item for leg_id, item in waiting.items() if dead.get(leg_id, True)}  # discarded: done with
        found_wrong += fold.differences(
            waiting, found, wrong, frozenset(dead), before_ms=before_ms, all_rated_read=batch.complete
        )
        store.add_accounts(connection, fold.sum_accounts(window.entries))
        store.add_hours(connection, fold.sum_hours(window.entries), now)
        found_wrong += journals.journal_differences(connection, now)
        found_wrong += letters.letter_differences(connection)
        found_wrong += hours.compare_hours(connection, client, now - _REST, now_ms)
        decided_before = now - timedelta(seconds=self._settings.settle_seconds)
        room = self._settings.most_waiting - self._open
        decided = unclosed_decisions(client, position.decided_at, decided_before, room)
        judged = judge_calls(connection, decided.calls, now_ms, self._patience)
        keep_decisions(connection, client)
        self._open = judged.admitted
        found_wrong += judged.differences
        store.save(connection, store.Position(server, window.horizon, tuple(batch.offsets), decided.end), waiting)
        counts = {
            "rated": len(batch.legs),
            "posted": sum(entry.is_leg for entry in window.entries),
            "compared": len(asked) - len(wrong),
            "waiting": len(waiting),
        }
        return Run(found_wrong, counts, window.more or not batch.complete)

    def _begin(self, connection: psycopg.Connection[Any], rated: RatedReader, server: str) -> store.Position:
        """A new auditor: it counts what is there and goes on from here; what was before is the whole audit's."""
        # Messages before these were posted before this snapshot; those after are looked up, wherever they stand.
        offsets = rated.posted_offsets()
        horizon = posted.horizon_of(connection)
        log.info("the auditor begins: it counts the ledger as it is", horizon=horizon)
        store.begin(connection, horizon)
        return store.Position(server, horizon, tuple(offsets))

    def _servers(self) -> tuple[psycopg.Connection[Any], RatedReader, Client]:
        settings = self._settings
        if self._connection is None:
            self._connection = psycopg.connect(
                settings.postgres.dsn.get_secret_value(),
                autocommit=True,
                connect_timeout=5,
                application_name="auditor",
                options="-c statement_timeout=300000",
            )
        if self._rated is None:
            self._rated = RatedReader(settings.kafka)
        if self._client is None:
            self._client = connect(settings.clickhouse)
        return self._connection, self._rated, self._client

    def lock(self) -> bool:
        """Whether this is the one auditor that works. Raises psycopg.Error."""
        connection, _, _ = self._servers()
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (AUDITOR,)).fetchone()
        return bool(row and row[0])

    def seal(self) -> bool:
        """Seal and delete one old range of a topic; whether there may be more. Raises what the stores' clients do."""
        connection, _, client = self._servers()
        posted.summarize(connection)
        return self._sealer.step(connection, client, self._clock())

    def close(self) -> None:
        """Let go of the servers; the next run connects anew."""
        self._sealer.close()
        connection, rated, client = self._connection, self._rated, self._client
        self._connection = self._rated = self._client = None
        for held in (connection, rated, client):
            if held is not None:
                with contextlib.suppress(psycopg.Error, KafkaError, OSError):
                    held.close()


def _late(waiting: dict[str, Waiting], before_ms: int) -> list[str]:
    return [item.leg_id for item in waiting.values() if not item.in_ledger and item.since_ms <= before_ms]


def run(settings: AuditorSettings) -> None:
    """Audit until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    auditor = Auditor(settings)
    detail, locked, next_at, seal_at = "has not run yet", False, 0.0, 0.0
    degraded = ""
    while not stop.is_set():
        if time.monotonic() >= next_at:
            try:
                locked = locked or auditor.lock()
                if not locked:
                    detail, next_at = "another auditor works", time.monotonic() + settings.retry_seconds
                else:
                    made = auditor.run()
                    detail, degraded = _said(made), ""
                    next_at = 0.0 if made.more else time.monotonic() + settings.every_seconds
            except Exception as error:  # any store's client: no run is better than half a one
                log.warning("no audit: a store is away", error=repr(error)[:300])
                detail, locked, next_at = f"no audit: {error!r}"[:300], False, time.monotonic() + settings.retry_seconds
                degraded = f"{detail}: what is rated, posted and recorded is not compared"
                auditor.close()
        elif locked and time.monotonic() >= seal_at:  # between two runs, a range at a time
            seal_at = time.monotonic() + (0.0 if _seal(auditor) else _SEAL_SECONDS)
        send_beat(settings.beat, detail=detail, degraded=degraded)
        wake_at = min(next_at, seal_at) if locked else next_at
        stop.wait(min(_BEAT_SECONDS, max(0.05, wake_at - time.monotonic())))
    auditor.close()


def _seal(auditor: Auditor) -> bool:
    """Whether there may be more to seal. A failure costs nothing but time: nothing is deleted without its manifest."""
    try:
        return auditor.seal()
    except Exception as error:  # any store's client; a connection that is lost is the next run's to make anew
        log.warning("nothing sealed: a store is away", error=repr(error)[:300])
        return False


def _said(made: Run) -> str:
    if not made.differences:
        return f"equal; {made.counts['waiting']} legs on their way"
    first = made.differences[0]
    return f"{len(made.differences)} DIFFERENCES, the first: {first.kind} {first.subject}"
