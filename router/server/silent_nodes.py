"""Nodes that have not been heard of: their prepaid calls are refused by PostgreSQL; here it is said, in the beat.

A node that was never heard of has not begun, and one that has been silent for a day is not expected back: neither is
said. Agents tell why their own node is silent; this covers those whose agent or machine is gone.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from router.server.polling import DATABASE_DOWN

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 5.0
STATEMENT: Final = """
    SELECT name, extract(epoch FROM clock_timestamp() - last_seen_at)::int FROM nodes
    WHERE last_seen_at BETWEEN clock_timestamp() - interval '1 day' AND clock_timestamp() - interval '15 seconds'
    ORDER BY name LIMIT 20
"""
Silent = list[tuple[str, int]]  # name, seconds since it was heard of


class SilentNodes:
    """`read` gives them, 20 at most (STATEMENT); it may raise psycopg.Error, TimeoutError, OSError."""

    def __init__(self, read: Callable[[], Awaitable[Silent]]) -> None:
        self._read = read
        self._silent: Silent = []

    @property
    def said(self) -> str:
        """In words, for the beat; empty while all have been heard of."""
        if not self._silent:
            return ""
        nodes = ", ".join(f"{name} for {seconds} s" for name, seconds in self._silent)
        return f"not heard of: {nodes}: prepaid calls from there are refused"

    async def look(self) -> None:
        """Ask once. While PostgreSQL is away, what was known last stands."""
        try:
            silent = await self._read()
        except DATABASE_DOWN:  # others say that PostgreSQL is away
            return
        for name in sorted({name for name, _ in silent} - {name for name, _ in self._silent}):
            log.warning("a node has not been heard of: its prepaid calls are refused", node=name)
        self._silent = silent
