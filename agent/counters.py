"""PostgreSQL's counters and holds, kept as the calls really are: what ended is not counted, what goes on is paid for.

With each status: the node has been heard of, what is missing is not counted, holds are extended, and who cannot pay
further is told to the watch, which cuts. Calls that go on without a hold (they were admitted while PostgreSQL was away)
are held by their own FACTS. Each minute, what no call's end will ever give back is swept; and with each new start of
Asterisk, and each minute, calls are closed that went down with an earlier one before any line (orphans.py).

A thread with one connection. PostgreSQL away: what ended meanwhile is told when it is back (up to a limit; the next
status corrects the rest), and nothing else waits for it. The node's name is held here too: one agent, one name.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import psycopg
import structlog

from agent.ami.events import Seen
from agent.journal.ends import ends_in
from agent.postgres import connect
from agent.restart.orphans import MAX_AT_ONCE, Orphan, close_orphans, read_orphans, told_calls
from agent.settings import AgentSettings
from agent.state_file import AgentError
from runtime.disk import LOOK_SECONDS, Disk
from runtime.metrics import Bounded
from schemas.events import CallEnded
from schemas.facts import FactsError, decode_facts
from schemas.ids import started_seconds_of
from sinks import holds
from sinks.node_calls import list_calls

log = structlog.get_logger(__name__)
_GONE_LIMIT: Final = 50_000
_GONE_BATCH: Final = 1_000
GONE: Final = Bounded("agent_gone_waiting", "Ends of calls that PostgreSQL has not been told of.")
_WAIT_SECONDS: Final = 0.1
_CLAIM_SECONDS: Final = 15  # an agent that has been silent so long no longer holds its node's name
# A call is in Status before the router is asked for it; this is for what is on its way.
_GRACE_MS: Final = 2_000
MAX_TOLD: Final = 5_000  # calls of earlier starts that are not looked for in the journal again
_SWEEP_LIMIT: Final = 1_000  # calls that are looked for in the journal at once
_CLOCK_SECONDS: Final = 86_400  # by which a node's clock may have been set since, and its files' times with it
_CLAIM: Final = """
    INSERT INTO nodes (name, agent_id, epoch, last_seen_at) VALUES (%(node)s, %(agent)s, %(epoch)s, now())
    ON CONFLICT (name) DO UPDATE SET agent_id = excluded.agent_id, epoch = excluded.epoch, last_seen_at = now()
    WHERE nodes.agent_id IS NULL OR nodes.agent_id = excluded.agent_id OR nodes.last_seen_at IS NULL
          OR nodes.last_seen_at < now() - make_interval(secs => %(silent)s)
"""

_DISK: Final = """
    INSERT INTO nodes (name, agent_id, disk_low_since) VALUES (%(node)s, %(agent)s, CASE WHEN %(low)s THEN now() END)
    ON CONFLICT (name) DO UPDATE
    SET disk_low_since = CASE WHEN %(low)s THEN coalesce(nodes.disk_low_since, now()) END
    WHERE nodes.agent_id IS NULL OR nodes.agent_id = excluded.agent_id
"""


class Counters:
    """Takes what AMI saw, from any thread; `run` tells PostgreSQL.

    `on_unpaid` is called, from the thread of `run`, after each status with the calls that cannot be paid further: up to
    which second of talk each is paid. `on_closed`, from the same thread, with the ends of calls that died with an
    earlier Asterisk before any line was written; it is called again with what has not been posted by the next sweep.
    """

    def __init__(self, settings: AgentSettings, agent_id: str) -> None:
        self._settings = settings
        self._agent_id = agent_id
        self._swept_at = time.monotonic()
        self.disk = Disk("journal", settings.directory / "journal", settings.disk_reserve_bytes)
        self._told_low: bool | None = None  # what this connection has told of the disk
        self._unheld_last: frozenset[str] = frozenset()
        self.unheld: frozenset[str] = frozenset()  # without a hold at two statuses: their FACTS are wanted
        self.on_unpaid: Callable[[Mapping[str, int]], None] = lambda _unpaid: None
        self.on_closed: Callable[[Sequence[CallEnded]], None] = lambda _closed: None
        self._told: frozenset[str] = frozenset()  # calls of earlier epochs that the journal tells of: the restart's
        self._swept_epoch = 0
        self._gone: deque[str] = deque(maxlen=_GONE_LIMIT)
        GONE.watch(_GONE_LIMIT, lambda: len(self._gone))
        self._seen: tuple[Seen, int, int] | None = None
        self._wake = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self.health = "PostgreSQL not asked yet"
        self.away = False

    def gone(self, call_id: str) -> None:
        """A call has ended."""
        if len(self._gone) == _GONE_LIMIT:
            GONE.lose()
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
                woken = self._wake.wait(LOOK_SECONDS)
                self._wake.clear()
                if self.disk.look() is not self._told_low or woken:
                    self._round(stop)
        finally:
            self._disconnect()

    def _round(self, stop: threading.Event) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._tell(self._connection)
            self.health, self.away = "PostgreSQL is there", False
            stop.wait(_WAIT_SECONDS)  # so that calls that end together are told together
        except psycopg.Error as error:
            log.warning("PostgreSQL away: counters and holds wait", error=repr(error)[:300])
            self.health, self.away = "PostgreSQL is away", True
            self._disconnect()
            stop.wait(self._settings.retry_seconds)
            self._wake.set()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._told_low = None

    def _connect(self) -> psycopg.Connection[Any]:
        settings, seconds = self._settings, self._settings.postgres_seconds
        return connect(settings, f"node-agent {settings.node}", seconds, f"-c statement_timeout={int(seconds * 1000)}")

    def _tell(self, connection: psycopg.Connection[Any]) -> None:
        if (low := self.disk.look()) is not self._told_low:
            # Told anew until the row is ours: what an agent elsewhere has left there must not stand.
            values = {"node": self._settings.node, "agent": self._agent_id, "low": low}
            self._told_low = low if connection.execute(_DISK, values).rowcount == 1 else None
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
        live, before_ms = [call.call_id for call in seen.calls], node_clock_ms - _GRACE_MS
        holds.uncount_missing(connection, node, live, before_ms)
        list_calls(connection, node, live)  # what it does not list has been told to be gone
        self._hold_the_unheld(connection, seen, live)
        began = time.monotonic()
        unpaid = holds.extend(connection, seen.talk_seconds, self._settings.hold_margin_seconds)
        self.on_unpaid(unpaid)
        if unpaid:
            log.warning("calls that their accounts cannot pay further", calls=list(unpaid)[:20], count=len(unpaid))
        if (took := time.monotonic() - began) > 1:
            log.warning("holds are extended slowly", seconds=round(took, 3), calls=len(seen.calls))
        due = time.monotonic() - self._swept_at > self._settings.sweep_seconds
        if due or epoch != self._swept_epoch:
            orphans = self._close_orphans(connection, epoch)
            self._swept_epoch = epoch
        if due:
            self._sweep(connection, live, before_ms, orphans)
            self._swept_at = time.monotonic()

    def _hold_the_unheld(self, connection: psycopg.Connection[Any], seen: Seen, live: list[str]) -> None:
        unheld = holds.without_hold(connection, live)
        talk = seen.talk_seconds
        calls = []
        for call_id in sorted(unheld & seen.facts.keys()):
            try:
                calls.append(holds.Unheld(call_id, decode_facts(seen.facts[call_id]), talk.get(call_id, 0)))
            except FactsError as error:
                log.error("a call without a hold has FACTS that cannot be read", call=call_id, error=str(error))  # noqa: TRY400
        if calls:
            settings = self._settings
            placed = holds.place(connection, settings.node, calls, settings.hold_seconds, settings.hold_margin_seconds)
            if placed:
                log.warning("calls that were not held are held", calls=placed[:20], count=len(placed))
        # Between its INVITE and the router's answer no call has a hold: only what has none twice is asked for FACTS.
        self.unheld, self._unheld_last = unheld & self._unheld_last - {call.call_id for call in calls}, unheld

    def _close_orphans(self, connection: psycopg.Connection[Any], epoch: int) -> frozenset[str]:
        """Have calls closed that went down with an earlier Asterisk before any line; all that are known of them."""
        settings = self._settings
        found = read_orphans(connection, settings.node, epoch, self._told)
        if not found:
            return frozenset()
        since = min(started_seconds_of(one.call_id) for one in found) - _CLOCK_SECONDS
        told = told_calls(settings.node, settings.directory / "journal", {one.call_id for one in found}, since)
        if told is None:
            log.warning("calls of earlier starts are not closed: the journal is too large", calls=len(found))
            return frozenset()
        self._told = frozenset(sorted(self._told | told)[-MAX_TOLD:])
        orphans: list[Orphan] = [one for one in found if one.call_id not in told]
        if orphans:
            now = orphans[:MAX_AT_ONCE]  # the others at the next look
            log.warning("calls died with Asterisk before any line: closed", calls=[one.call_id for one in now][:20])
            self.on_closed(close_orphans(now, settings.directory))
        return frozenset(one.call_id for one in orphans)

    def _sweep(
        self, connection: psycopg.Connection[Any], live: list[str], before_ms: int, closed: frozenset[str]
    ) -> None:
        settings = self._settings
        never_ended: set[str] = set()
        gone = holds.long_gone(connection, settings.node, settings.gone_seconds, _SWEEP_LIMIT)
        if len(gone) == _SWEEP_LIMIT:
            log.warning("many ended calls wait for their posting: only what has expired is swept", count=len(gone))
        elif gone:
            since = min(started_seconds_of(call_id) for call_id in gone) - _CLOCK_SECONDS
            ended = ends_in(settings.directory / "journal", gone, since)
            never_ended = set() if ended is None else set(gone) - ended - closed  # a posting gives those back
        swept = holds.sweep(connection, settings.node, self._agent_id, live, sorted(never_ended), before_ms)
        for one in swept:
            log.warning("hold swept", call=one.call_id, account=one.account_id, micros=one.amount_micros, why=one.why)
