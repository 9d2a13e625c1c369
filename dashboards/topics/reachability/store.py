"""Which vendors answer, from PostgreSQL, shared by all viewers for some seconds."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog

from router.server.vendor_reach import MOST_SHOWN, VendorReach, vendor_reach
from runtime.postgres_pool import Connections
from sinks.reachability import list_reachability

_log = structlog.get_logger(__name__)
_KEEP_SECONDS: Final = 3.0


@dataclass(frozen=True)
class ReachState:
    """Vendors by node, those that are not reachable first. `away`: why nothing is known; empty if it is."""

    vendors: Sequence[VendorReach] = ()
    away: str = ""


class ReachStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._guard = threading.Lock()
        self._state = ReachState(away="which vendors answer has not been read yet")
        self._read_at = float("-inf")

    def state(self) -> ReachState:
        """The state as of some seconds ago at most; `away` while PostgreSQL does not answer."""
        with self._guard:
            if time.monotonic() - self._read_at > _KEEP_SECONDS:
                try:
                    with self._connections.lent(read_only=True) as connection:
                        found = list_reachability(connection, MOST_SHOWN)
                    self._state = ReachState([vendor_reach(one) for one in found])
                except psycopg.Error as error:
                    _log.warning("which vendors answer cannot be read", error=str(error)[:200])
                    self._state = ReachState(away="PostgreSQL does not answer: which vendors answer is not known")
                self._read_at = time.monotonic()
            return self._state
