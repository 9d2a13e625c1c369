"""Which vendors' limits have no room just now, by node: read every second, beside the calls. Advice.

The exact word is Asterisk's, before each leg. What is older than three seconds, or no limit any more, is not believed.
With this a full vendor is not among the routes of a call at all, and the next one takes his place in the hunt.
PostgreSQL away: nothing is known to be full.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import structlog

from router.server.polling import DATABASE_DOWN

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 1.0
STATEMENT: Final = """
    SELECT node, array_agg(limit_key)
    FROM limit_leases JOIN limit_nodes USING (node) JOIN limits USING (limit_key)
    WHERE max_concurrent > 0 AND used >= concurrent_share AND reported_at > clock_timestamp() - interval '3 seconds'
    GROUP BY node
"""
_NONE: Final[frozenset[str]] = frozenset()
Full = Mapping[str, frozenset[str]]


def full_of(rows: list[tuple[Any, ...]]) -> Full:
    """The keys without room, by node."""
    return MappingProxyType({node: frozenset(keys) for node, keys in rows})


class FullLimits:
    """`read` gives the keys without room by node; it may raise psycopg.Error, PoolTimeout, TimeoutError, OSError."""

    def __init__(self, read: Callable[[], Awaitable[Full]]) -> None:
        self._read = read
        self._full: Full = {}

    def of(self, node: str) -> frozenset[str]:
        """The keys of the limits without room on a node."""
        return self._full.get(node, _NONE)

    async def look(self) -> None:
        """Ask once."""
        try:
            self._full = await self._read()
        except DATABASE_DOWN as error:
            if self._full:
                log.warning("which limits are full is not known", error=repr(error)[:200])
            self._full = {}
