"""Which vendors answer, from PostgreSQL, shared by all viewers for some seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from dashboards.kit.cached_read import CachedRead
from router.server.vendor_reach import MOST_SHOWN, VendorReach, vendor_reach
from runtime.postgres_pool import Connections
from sinks.reachability import list_reachability

_KEEP_SECONDS: Final = 3.0


@dataclass(frozen=True)
class ReachState:
    """Vendors by node, those that are not reachable first. `away`: why nothing is known; empty if it is."""

    vendors: Sequence[VendorReach] = ()
    away: str = ""


class ReachStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        self._cached = CachedRead(
            connections,
            _read,
            first=ReachState(away="which vendors answer has not been read yet"),
            when_down=lambda _: ReachState(away="PostgreSQL does not answer: which vendors answer is not known"),
            keep_seconds=_KEEP_SECONDS,
            failed="which vendors answer cannot be read",
        )

    def state(self) -> ReachState:
        """The state as of some seconds ago at most; `away` while PostgreSQL does not answer."""
        return self._cached.current()


def _read(connection: psycopg.Connection[Any]) -> ReachState:
    return ReachState([vendor_reach(one) for one in list_reachability(connection, MOST_SHOWN)])
