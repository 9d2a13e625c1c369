"""Peers with too many open dead letters: a customer's new calls are refused, a vendor is passed over.

Whoever of them made the letters would make the next one with the next call, and nobody would bill it. Read from
PostgreSQL every second, beside the calls; while it is away, what was read last stands.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from router.core.limit_keys import stopped_key
from router.server.polling import DATABASE_DOWN
from runtime.metrics import counter, gauge
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, Facts
from schemas.refusals import Refusal

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 1.0
STATEMENT: Final = "SELECT peer_id FROM letter_stops"
STOPPED: Final = gauge("router_peers_stopped", "Peers whose calls are refused for their open dead letters.")
REFUSED: Final = counter("router_calls_refused_for_letters", "Calls refused because their customer is stopped.")
_SHOWN: Final = 20


class Stops:
    """`read` gives the ids of stopped peers; it may raise psycopg.Error, PoolTimeout, TimeoutError, OSError."""

    def __init__(self, read: Callable[[], Awaitable[frozenset[int]]]) -> None:
        self._read = read
        self._peers: frozenset[int] = frozenset()
        self._away = False
        self.keys: frozenset[str] = frozenset()

    def refusal(self, customer_peer_id: int) -> Refusal | None:
        """Why no call of this customer may begin now; None: it may."""
        if customer_peer_id not in self._peers:
            return None
        REFUSED.inc()
        return Refusal.DEAD_LETTERS

    @property
    def alarm(self) -> str:
        """In words, for status; empty while nobody is stopped."""
        if not self._peers:
            return ""
        names = ", ".join(str(peer_id) for peer_id in sorted(self._peers)[:_SHOWN])
        return f"NEW CALLS REFUSED, too many open dead letters of peers: {names}"

    async def look(self) -> None:
        """Ask once."""
        try:
            peers = await self._read()
        except DATABASE_DOWN as error:
            if not self._away:
                log.warning("stopped peers are not known: those last known stay so", error=repr(error)[:200])
            self._away = True
            return
        self._away = False
        for peer_id in sorted(peers - self._peers):
            log.error("too many open dead letters: the peer's new calls are refused", peer=peer_id)
        for peer_id in sorted(self._peers - peers):
            log.warning("the peer's calls are taken again", peer=peer_id)
        if peers != self._peers:
            self._peers, self.keys = peers, frozenset(stopped_key(peer_id) for peer_id in peers)
        STOPPED.set(len(peers))


def unbilled_facts(facts: Facts) -> Facts:
    """FACTS of a call that is refused so: nobody's account, so that its zero cannot be what the ledger refuses."""
    return msgspec.structs.replace(
        facts, account_id=UNIDENTIFIED_ACCOUNT_ID, currency="USD", price_e8=0, connect_fee_micros=0
    )
