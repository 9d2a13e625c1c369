"""PostgreSQL's counters and holds, kept as the calls really are: what ended is not counted, what goes on is paid for.

A thread with one connection. PostgreSQL away: what ended meanwhile is told when it is back (up to a limit; the next
status corrects the rest), and nothing else waits for it. The node's name is held here too: one agent, one name.
"""

import threading
import time
from collections import deque
from typing import Any, Final

import psycopg
import structlog

from router.agent.ami_events import Seen
from router.agent.settings import AgentSettings
from router.agent.state_file import AgentError
from sinks import holds

log = structlog.get_logger(__name__)
_GONE_LIMIT: Final = 50_000
_GONE_BATCH: Final = 1_000
_WAIT_SECONDS: Final = 0.1
_CLAIM_SECONDS: Final = 15  # an agent that has been silent so long no longer holds its node's name
# A call is in Status before the router is asked for it; this is for what is on its way.
_GRACE_MS: Final = 2_000
_CLAIM: Final = """
    INSERT INTO nodes (name, agent_id, epoch, last_seen_at) VALUES (%(node)s, %(agent)s, %(epoch)s, now())
    ON CONFLICT (name) DO UPDATE SET agent_id = excluded.agent_id, epoch = excluded.epoch, last_seen_at = now()
    WHERE nodes.agent_id IS NULL OR nodes.agent_id = excluded.agent_id OR nodes.last_seen_at IS NULL
          OR nodes.last_seen_at < now() - make_interval(secs => %(silent)s)
"""


class Counters:
    """Takes what AMI saw, from any thread; `run` tells PostgreSQL."""

    def __init__(self, settings: AgentSettings, agent_id: str) -> None:
        self._settings = settings
        self._agent_id = agent_id
        self._gone: deque[str] = deque(maxlen=_GONE_LIMIT)
        self._seen: tuple[Seen, int, int] | None = None
        self._wake = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self.health = "PostgreSQL not asked yet"

    def gone(self, call_id: str) -> None:
        """A call has ended."""
        self._gone.append(call_id)
        self._wake.set()

    def seen(self, seen: Seen, epoch: int, node_clock_ms: int) -> None:
        """A status: the calls that were really there at `node_clock_ms`. Of several that wait the newest matters."""
        self._seen = (seen, epoch, node_clock_ms)
        self._wake.set()

    def wake(self) -> None:
        """Have `run` look at its stop."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises AgentError where another agent holds the node's name."""
        try:
            while not stop.is_set():
                self._wake.wait()
                self._wake.clear()
                self._round(stop)
        finally:
            self._disconnect()

    def _round(self, stop: threading.Event) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._tell(self._connection)
            self.health = "PostgreSQL is there"
            stop.wait(_WAIT_SECONDS)  # so that calls that end together are told together
        except psycopg.Error as error:
            log.warning("PostgreSQL away: counters and holds wait", error=repr(error)[:300])
            self.health = "PostgreSQL is away"
            self._disconnect()
            stop.wait(self._settings.retry_seconds)
            self._wake.set()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> psycopg.Connection[Any]:
        seconds = self._settings.postgres_seconds
        return psycopg.connect(
            self._settings.postgres.dsn.get_secret_value(),
            autocommit=True,
            connect_timeout=max(2, int(seconds)),
            application_name=f"streamco node-agent {self._settings.node}",
            options=f"-c statement_timeout={int(seconds * 1000)}",
            tcp_user_timeout=int(seconds * 1000),
        )

    def _tell(self, connection: psycopg.Connection[Any]) -> None:
        gone = [self._gone[number] for number in range(min(len(self._gone), _GONE_BATCH))]
        if gone:
            holds.uncount(connection, gone)
            for call_id in gone:
                if self._gone and self._gone[0] == call_id:
                    self._gone.popleft()
            if self._gone:
                self._wake.set()
        if (newest := self._seen) is not None:
            self._tell_status(connection, *newest)
            if self._seen is newest:
                self._seen = None

    def _tell_status(self, connection: psycopg.Connection[Any], seen: Seen, epoch: int, node_clock_ms: int) -> None:
        node = self._settings.node
        values = {"node": node, "agent": self._agent_id, "epoch": epoch, "silent": _CLAIM_SECONDS}
        if connection.execute(_CLAIM, values).rowcount != 1:
            raise AgentError(f"node {node}: another agent holds this name (table nodes): names of nodes must be unique")
        holds.uncount_missing(connection, node, [call.call_id for call in seen.calls], node_clock_ms - _GRACE_MS)
        began = time.monotonic()
        unpaid = holds.extend(connection, seen.talk_seconds, self._settings.hold_margin_seconds)
        if unpaid:
            log.warning("calls that their accounts cannot pay further", calls=unpaid[:20], count=len(unpaid))
        if (took := time.monotonic() - began) > 1:
            log.warning("holds are extended slowly", seconds=round(took, 3), calls=len(seen.talk_seconds))
