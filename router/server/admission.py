"""Admission: money and a place for a call before it is routed, and the longest call that the money allows."""

import asyncio
import time
from functools import partial
from typing import Any, Final, LiteralString

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from router.core import Decision
from router.core.limits import call_limits
from router.server.answer import Answer
from router.server.digests import REQUIRE
from router.server.digests import STATEMENT as WITHOUT_DIGEST
from router.server.full_limits import STATEMENT, Full, full_of
from router.server.overload import Line
from router.server.reach import Try
from router.server.reachability import SKIP_MS
from router.server.silent_nodes import STATEMENT as SILENT_NODES
from router.server.silent_nodes import Silent
from router.server.statement_pool import Lines
from router.server.stops import STATEMENT as STOPPED_PEERS
from router.settings import RouterSettings
from runtime.metrics import Bounded, counter
from schemas.facts import Facts
from schemas.ids import node_of
from schemas.refusals import Refusal
from sinks.holds import (
    ADMIT,
    CallLimit,
    Hold,
    Outcome,
    admission_of,
    admit_values,
    seconds_to_hold,
    terms_of,
)
from sinks.reachability import SKIPPED, TRY, Skipped
from tariffs.rating import affordable_seconds

log = structlog.get_logger(__name__)
WAITING: Final = Bounded("router_admissions_waiting", "Calls that wait for a connection to PostgreSQL.")
AWAY: Final = counter("router_admissions_without_database", "Calls that were decided without PostgreSQL, by policy.")
_CONNECT_SECONDS: Final = 10
# The pause between a pool's attempts doubles up to here; then it begins anew at the next question, each second.
_RECONNECT_SECONDS: Final = 5.0
_REFUSAL_OF = {
    Outcome.NO_BALANCE: Refusal.NO_BALANCE,
    Outcome.LIMIT: Refusal.LIMIT,
    Outcome.NO_ACCOUNT: Refusal.DISABLED,
    Outcome.NODE_SILENT: Refusal.NODE_SILENT,
    Outcome.REPEATED: Refusal.ROUTER_UNAVAILABLE,  # it has been answered, perhaps by another machine's router
    Outcome.ENDED: Refusal.ROUTER_UNAVAILABLE,  # its caller has gone: nobody hears this
}


def make_hold(decision: Decision, facts: Facts, call_id: str, started_at_ms: int, settings: RouterSettings) -> Hold:
    """What is asked for a call: a first quantum of talk (at least the pack's minimum), and further ones as long."""
    peer = decision.peer
    assert peer is not None  # noqa: S101 (for the type checker: only routed calls come here)
    return Hold(
        call_id=call_id,
        node=node_of(call_id),
        peer_id=peer.peer_id,
        account_id=peer.account.account_id,
        first_seconds=seconds_to_hold(facts, settings.hold_seconds),
        least_seconds=seconds_to_hold(facts, 1),
        quantum_seconds=settings.hold_seconds,
        terms=terms_of(facts),
        limits=tuple(CallLimit(*limit) for limit in call_limits(decision.snapshot, peer, decision.inbound.callee)),
        started_at_ms=started_at_ms,
        expires_at_ms=started_at_ms + (peer.max_call_seconds + settings.hold_grace_seconds) * 1000,
    )


class Admission:
    """Asks PostgreSQL, within a bounded time, over a bounded number of connections."""

    def __init__(self, settings: RouterSettings) -> None:
        """Opens nothing yet: see open()."""
        self._settings = settings
        self.line = Line(settings.most_wait_seconds)
        # A hold that PostgreSQL forgets in a crash costs at most what its call would overspend: not worth a disk
        # flush before every call. Its leg is billed all the same. (docs/operations.md has the bound.)
        # What nobody waits for any more PostgreSQL itself ends.
        conninfo = make_conninfo(
            settings.snapshot.postgres.dsn.get_secret_value(),
            options=f"-c synchronous_commit=off -c statement_timeout={int(settings.admission_seconds * 1000)}",
            application_name="router",
            connect_timeout=_CONNECT_SECONDS,
        )
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            conninfo,
            min_size=1,  # beside the lines, for what is asked now and then
            max_size=1,
            max_waiting=settings.max_sessions,
            timeout=settings.admission_seconds,
            reconnect_timeout=_RECONNECT_SECONDS,
            open=False,
            kwargs={"autocommit": True},
            name="admission",
        )
        connect = partial(psycopg.AsyncConnection.connect, conninfo, autocommit=True)
        self._lines = Lines(connect, ADMIT, settings.admission_connections, settings.max_sessions)
        WAITING.watch(settings.max_sessions, lambda: self._lines.waiting)

    async def open(self) -> None:
        """Connect. A database that is away is waited for no longer than a call would wait."""
        await self._pool.open(wait=False)
        if self._settings.admission:
            self._lines.start(2 * self._settings.admission_seconds)
            await self._lines.ready(self._settings.admission_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.stop()
        await self._pool.close(timeout=2)

    async def low_disks(self) -> frozenset[str]:
        """The nodes whose journal's disk is nearly full. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        rows = await self._rows("SELECT name FROM nodes WHERE disk_low_since IS NOT NULL")
        return frozenset(row[0] for row in rows)

    async def stopped_peers(self) -> frozenset[int]:
        """Peers with too many open dead letters. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        return frozenset(row[0] for row in await self._rows(STOPPED_PEERS))

    async def silent_nodes(self) -> Silent:
        """The nodes that were heard of lately and are not now. Raises as low_disks."""
        return [(name, seconds) for name, seconds in await self._rows(SILENT_NODES)]

    async def nodes_without_digest(self) -> frozenset[str]:
        """The nodes that may ask without a digest. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        return frozenset(row[0] for row in await self._rows(WITHOUT_DIGEST))

    async def require_digests(self, nodes: list[str]) -> None:
        """From now on these nodes need one. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        async with asyncio.timeout(self._settings.admission_seconds), self._pool.connection() as connection:
            await connection.execute(REQUIRE, (nodes,))

    async def full_limits(self) -> Full:
        """The vendors' limits without room, by node. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        return full_of(await self._rows(STATEMENT))

    async def skipped_vendors(self) -> list[Skipped]:
        """The vendors that do not answer, by node. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        return [Skipped(*row) for row in await self._rows(SKIPPED)]

    async def _rows(self, statement: LiteralString) -> list[Any]:
        """What is asked now and then, beside the lines. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        async with asyncio.timeout(self._settings.admission_seconds), self._pool.connection() as connection:
            return await (await connection.execute(statement)).fetchall()

    async def take_try(self, wanted: Try) -> bool:
        """Whether the try of a vendor is ours. Raises psycopg.Error, PoolTimeout, TimeoutError, OSError."""
        async with asyncio.timeout(self._settings.admission_seconds), self._pool.connection() as connection:
            cursor = await connection.execute(TRY, {**wanted._asdict(), "skip_ms": SKIP_MS})
            return cursor.rowcount == 1

    async def ask(self, decision: Decision, facts: Facts, call_id: str, started_at_ms: int) -> Answer:
        """The answer to a routed call: admitted with its longest length, or refused. Never raises for the database."""
        peer = decision.peer
        assert peer is not None  # noqa: S101 (for the type checker: only routed calls come here)
        longest_ms = peer.max_call_seconds * 1000
        if not self._settings.admission:
            return Answer(decision, None, longest_ms, 0)
        hold = make_hold(decision, facts, call_id, started_at_ms, self._settings)
        ticket, answered = object(), False
        self.line.enter(ticket, time.monotonic())
        try:
            admission = admission_of(await self._lines.ask(admit_values(hold), self._settings.admission_seconds))
            answered = True
        except (psycopg.Error, PoolTimeout, TimeoutError, OSError) as error:
            AWAY.inc()
            log.warning("admission without PostgreSQL", call_id=call_id, error=repr(error)[:200])
            if peer.account.prepaid or not peer.account.allow_when_database_away:
                return Answer(decision, Refusal.DATABASE_UNAVAILABLE, 0, 0)
            # Its node's agent holds it as soon as PostgreSQL is back.
            return Answer(decision, None, longest_ms, 0)
        finally:
            self.line.leave(ticket, time.monotonic(), answered=answered)
        if admission.outcome is not Outcome.ADMITTED:
            return Answer(decision, _REFUSAL_OF[admission.outcome], 0, 0)
        if admission.free_micros is None:
            return Answer(decision, None, longest_ms, 0)
        seconds = affordable_seconds(facts, admission.free_micros, peer.max_call_seconds)
        return Answer(decision, None, seconds * 1000, admission.held_micros)
