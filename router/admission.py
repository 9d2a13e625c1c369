"""Admission: money and a place for a call before it is routed, and the longest call that the money allows."""

import asyncio
from typing import Any, Final

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from router.answer import Answer
from router.routing import Decision
from router.settings import RouterSettings
from schemas.facts import Facts
from schemas.ids import node_of
from schemas.refusals import Refusal
from sinks.holds import Hold, Outcome, admit
from sinks.metrics import Bounded, counter
from tariffs.rating import affordable_seconds, rate

log = structlog.get_logger(__name__)
WAITING: Final = Bounded("router_admissions_waiting", "Calls that wait for a connection to PostgreSQL.")
AWAY: Final = counter("router_admissions_without_database", "Calls that were decided without PostgreSQL, by policy.")
_REFUSAL_OF = {
    Outcome.NO_BALANCE: Refusal.NO_BALANCE,
    Outcome.LIMIT: Refusal.LIMIT,
    Outcome.NO_ACCOUNT: Refusal.DISABLED,
}


def make_hold(
    decision: Decision, facts: Facts, call_id: str, started_at_ms: int, settings: RouterSettings, seconds: int
) -> Hold:
    """The hold for the first `seconds` of talk (at least the pack's minimum), and the price of each further quantum."""
    peer = decision.peer
    assert peer is not None  # noqa: S101 (for the type checker: only routed calls come here)
    first = rate(facts, max(seconds, facts.free_seconds + 1) * 1000, True)
    quantum_seconds = settings.hold_seconds
    further = rate(facts, (first.billed_seconds + quantum_seconds) * 1000, True)
    return Hold(
        call_id=call_id,
        node=node_of(call_id),
        peer_id=peer.peer_id,
        account_id=peer.account.account_id,
        amount_micros=first.amount_micros,
        covered_seconds=first.billed_seconds,
        quantum_micros=further.amount_micros - first.amount_micros,
        quantum_seconds=quantum_seconds,
        max_concurrent=peer.max_concurrent,
        max_cps=peer.max_cps,
        started_at_ms=started_at_ms,
        expires_at_ms=started_at_ms + (peer.max_call_seconds + settings.hold_grace_seconds) * 1000,
    )


class Admission:
    """Asks PostgreSQL, within a bounded time, over a bounded number of connections."""

    def __init__(self, settings: RouterSettings) -> None:
        """Opens nothing yet: see open()."""
        self._settings = settings
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
            settings.snapshot.postgres.dsn.get_secret_value(),
            min_size=settings.admission_connections,
            max_size=settings.admission_connections,
            max_waiting=settings.max_sessions,
            timeout=settings.admission_seconds,
            open=False,
            # A hold that PostgreSQL forgets in a crash costs at most what its call would overspend: not worth a disk
            # flush before every call. Its leg is billed all the same. (docs/operations.md has the bound.)
            kwargs={"autocommit": True, "options": "-c synchronous_commit=off", "application_name": "router"},
            name="admission",
        )
        WAITING.watch(settings.max_sessions, lambda: self._pool.get_stats().get("requests_waiting", 0))

    async def open(self) -> None:
        """Start connecting; does not wait for the database."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close(timeout=2)

    async def ask(self, decision: Decision, facts: Facts, call_id: str, started_at_ms: int) -> Answer:
        """The answer to a routed call: admitted with its longest length, or refused. Never raises for the database."""
        peer = decision.peer
        assert peer is not None  # noqa: S101 (for the type checker: only routed calls come here)
        longest_ms = peer.max_call_seconds * 1000
        if not self._settings.admission:
            return Answer(decision, None, longest_ms, 0)
        hold = make_hold(decision, facts, call_id, started_at_ms, self._settings, self._settings.hold_seconds)
        try:
            async with asyncio.timeout(self._settings.admission_seconds):
                outcome, free_micros, hold = await self._admit(hold, decision, facts)
        except (psycopg.Error, PoolTimeout, TimeoutError, OSError) as error:
            AWAY.inc()
            log.warning("admission without PostgreSQL", call_id=call_id, error=repr(error)[:200])
            if peer.account.prepaid or not peer.account.allow_when_database_away:
                return Answer(decision, Refusal.DATABASE_UNAVAILABLE, 0, 0)
            return Answer(decision, None, longest_ms, 0)
        if outcome is not Outcome.ADMITTED:
            return Answer(decision, _REFUSAL_OF[outcome], 0, 0)
        seconds = affordable_seconds(facts, free_micros, peer.max_call_seconds)
        return Answer(decision, None, seconds * 1000, hold.amount_micros)

    async def _admit(self, hold: Hold, decision: Decision, facts: Facts) -> tuple[Outcome, int, Hold]:
        async with self._pool.connection() as connection:
            admission = await admit(connection, hold)
            if admission.outcome is Outcome.NO_BALANCE:
                # Less than a whole quantum is free: what it buys is held, down to the pack's minimum.
                seconds = affordable_seconds(facts, admission.free_micros, self._settings.hold_seconds)
                if seconds:
                    hold = make_hold(decision, facts, hold.call_id, hold.started_at_ms, self._settings, seconds)
                    admission = await admit(connection, hold)
        return admission.outcome, admission.free_micros, hold
