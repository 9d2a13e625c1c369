"""Records the requests that the node's Asterisk refuses before its dialplan, from its copies of SIP messages.

A thread with a connection of its own writes them. It is no part of any call: what a source sends beyond its bound is
counted alone, and while PostgreSQL is away the oldest records go.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import psycopg
import structlog

from agent.postgres import connect
from agent.settings import AgentSettings
from agent.wire.hep import Packet
from agent.wire.refused import MOST_SOURCES, Bounds, Reader, Record, Refused
from agent.wire.sip_head import Head
from runtime.metrics import Bounded, counter
from sinks import edge_refusals

log = structlog.get_logger(__name__)
SERVER: Final = "streamco"  # user_agent of pjsip.conf
MOST_WAITING: Final = 2_000
_WRITE_SECONDS: Final = 1.0
_EXPIRE_SECONDS: Final = 3_600.0
_RETRY_SECONDS: Final = 5.0
WAITING: Final = Bounded("agent_edge_refusals_waiting", "Refusals before the dialplan that wait for PostgreSQL.")
SOURCES: Final = Bounded("agent_edge_sources", "Sources whose refusals before the dialplan are bounded.")
RECORDED: Final = counter("agent_edge_refusals", "Requests refused before the dialplan that were recorded.")
NOT_RECORDED: Final = counter("agent_edge_refusals_not_recorded", "Those that were only counted.")


class EdgeRefusals:
    """`take` for each message, from one thread; `run` in another writes what it found. `unheard`: further ones, which
    show by what did not come.
    """

    def __init__(self, settings: AgentSettings, unheard: Callable[[], Iterable[Refused]] = tuple) -> None:
        self._settings, self._unheard = settings, unheard
        self._reader, self._bounds = Reader(SERVER, settings.sip_port), Bounds()
        self._lock = threading.Lock()
        self._waiting: deque[Record] = deque(maxlen=MOST_WAITING)
        self._connection: psycopg.Connection[Any] | None = None
        self._expired_at = float("-inf")
        self.health = ""
        WAITING.watch(MOST_WAITING, lambda: len(self._waiting))
        SOURCES.watch(MOST_SOURCES, lambda: len(self._bounds))

    def take(self, packet: Packet, head: Head) -> None:
        """One message as it came or went."""
        refused = self._reader.read(packet, head)
        if refused is not None:
            self._keep(refused)

    def run(self, stop: threading.Event) -> None:
        """Write what there is, each second, until `stop`."""
        pause_seconds = _WRITE_SECONDS
        while not stop.wait(pause_seconds):
            for refused in self._unheard():
                self._keep(refused)
            pause_seconds = _WRITE_SECONDS if not self._waiting or self._write() else _RETRY_SECONDS
        self._disconnect()

    def _keep(self, refused: Refused) -> None:
        with self._lock:
            record = self._bounds.take(refused, time.monotonic_ns() // 1_000_000)
            if record is None:
                NOT_RECORDED.inc()
                return
            if len(self._waiting) == MOST_WAITING:
                WAITING.lose()
            self._waiting.append(record)

    def _write(self) -> bool:
        records = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            if self._connection is None:
                self._connection = self._connect()
            edge_refusals.write(self._connection, self._settings.node, [_row(record) for record in records])
            if time.monotonic() - self._expired_at >= _EXPIRE_SECONDS:
                edge_refusals.expire(self._connection)
                self._expired_at = time.monotonic()
        except psycopg.Error as error:
            if not self.health:
                log.warning("refusals before the dialplan wait for PostgreSQL", error=repr(error)[:300])
            self.health = "refusals before the dialplan wait for PostgreSQL"
            self._disconnect()
            with self._lock:
                lost = max(0, len(records) + len(self._waiting) - MOST_WAITING)
                self._waiting.extendleft(reversed(records[lost:]))
            WAITING.lose(lost)
            return False
        RECORDED.inc(len(records))
        self.health = ""
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        settings, seconds = self._settings, self._settings.postgres_seconds
        options = f"-c statement_timeout={int(seconds * 1000)} -c synchronous_commit=off"
        return connect(settings, f"node-agent {settings.node} refusals", seconds, options)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


def _row(record: Record) -> dict[str, Any]:
    refused = record.refused._asdict()
    return {**refused, "not_recorded": record.not_recorded}
