"""Records the requests that the node's Asterisk refuses before its dialplan, from its copies of SIP messages.

A thread with a socket on loopback and a connection of its own. It is no part of any call: what comes too fast is
dropped by the kernel, what a source sends beyond its bound is counted alone, and while PostgreSQL is away the oldest
records go.
"""

import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

import psycopg
import structlog

from router.agent.hep import read_packet
from router.agent.postgres import connect
from router.agent.refused import MOST_SOURCES, Bounds, Reader, Record
from router.agent.settings import AgentSettings
from sinks import edge_refusals
from sinks.metrics import Bounded, counter

log = structlog.get_logger(__name__)
SERVER: Final = "streamco"  # user_agent of pjsip.conf
MOST_WAITING: Final = 2_000
MOST_A_SECOND: Final = 5_000  # messages that are looked at
_WRITE_SECONDS: Final = 1.0
_EXPIRE_SECONDS: Final = 3_600.0
_RETRY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2
_DATAGRAM_BYTES: Final = 65_535
WAITING: Final = Bounded("agent_edge_refusals_waiting", "Refusals before the dialplan that wait for PostgreSQL.")
SOURCES: Final = Bounded("agent_edge_sources", "Sources whose refusals before the dialplan are bounded.")
RECORDED: Final = counter("agent_edge_refusals", "Requests refused before the dialplan that were recorded.")
NOT_RECORDED: Final = counter("agent_edge_refusals_not_recorded", "Those that were only counted.")


class EdgeRefusals:
    """`run` does it; without a port there is nothing to do."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._reader, self._bounds = Reader(SERVER, settings.sip_port), Bounds()
        self._waiting: deque[Record] = deque(maxlen=MOST_WAITING)
        self._connection: psycopg.Connection[Any] | None = None
        self._written_at = self._expired_at = float("-inf")
        self.health = ""
        WAITING.watch(MOST_WAITING, lambda: len(self._waiting))
        SOURCES.watch(MOST_SOURCES, lambda: len(self._bounds))

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. A port that another program has is tried again, and said."""
        while not stop.is_set():
            if not self._settings.hep_port:
                stop.wait()
                return
            try:
                with socket.socket(type=socket.SOCK_DGRAM) as own:
                    own.bind(("127.0.0.1", self._settings.hep_port))
                    own.settimeout(_POLL_SECONDS)
                    self._listen(own, stop)
            except OSError as error:
                if not self.health:
                    log.warning("refusals before the dialplan are not recorded", error=repr(error)[:300])
                self.health = "refusals before the dialplan are not recorded"
                stop.wait(_RETRY_SECONDS)
        self._disconnect()

    def _listen(self, own: socket.socket, stop: threading.Event) -> None:
        second, taken = time.monotonic(), 0
        while not stop.is_set():
            now = time.monotonic()
            if now - second >= 1:
                second, taken = now, 0
            if taken >= MOST_A_SECOND:
                stop.wait(_POLL_SECONDS)
            else:
                taken += self._receive(own)
            if self._waiting and now - self._written_at >= _WRITE_SECONDS:
                self._write()

    def _receive(self, own: socket.socket) -> int:
        try:
            datagram = own.recv(_DATAGRAM_BYTES)
        except TimeoutError:
            return 0
        packet = read_packet(datagram)
        refused = self._reader.read(packet) if packet is not None else None
        if refused is not None:
            record = self._bounds.take(refused, time.monotonic_ns() // 1_000_000)
            if record is None:
                NOT_RECORDED.inc()
            else:
                if len(self._waiting) == MOST_WAITING:
                    WAITING.lose()
                self._waiting.append(record)
        return 1

    def _write(self) -> None:
        records = list(self._waiting)
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
            self._written_at = time.monotonic() + _RETRY_SECONDS
            return
        for _ in records:
            self._waiting.popleft()
        RECORDED.inc(len(records))
        self._written_at, self.health = time.monotonic(), ""

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
