"""Disks that are nearly full: the router's own, and those of the nodes' journals, by the word of their agents.

The nodes' are read from PostgreSQL every second, beside the calls: so the refusal costs a call nothing, and holds for
those too that are admitted without PostgreSQL. While it is away, what was read last stands.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from router.server.polling import DATABASE_DOWN
from router.settings import RouterSettings
from runtime.disk import Disk
from runtime.metrics import counter
from schemas.refusals import Refusal

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 1.0
REFUSED: Final = counter("calls_refused_for_disk", "Calls refused because a disk is nearly full.", ["reason"])


class Disks:
    """`read_nodes` gives the nodes whose journal's disk is nearly full; it may raise psycopg.Error, TimeoutError."""

    def __init__(self, settings: RouterSettings, read_nodes: Callable[[], Awaitable[frozenset[str]]]) -> None:
        self._own = Disk("router", settings.spool.parent, settings.disk_reserve_bytes)
        self._read_nodes = read_nodes
        self._nodes: frozenset[str] = frozenset()
        self._away = False

    def refusal(self, node: str) -> Refusal | None:
        """Why no call from this node may begin now; None: there is room."""
        found = None
        if node in self._nodes:
            found = Refusal.NODE_DISK_FULL
        elif self._own.low:
            found = Refusal.ROUTER_DISK_FULL
        if found is not None:
            REFUSED.labels(found.value).inc()
        return found

    @property
    def said(self) -> str:
        """In words, for the beat; empty while all have room."""
        nodes = f"DISK NEARLY FULL on {', '.join(sorted(self._nodes))}" if self._nodes else ""
        return ", ".join(text for text in (self._own.said, nodes) if text)

    async def look(self) -> None:
        """Ask the own disk and the nodes' rows."""
        await asyncio.to_thread(self._own.look)
        try:
            nodes = await self._read_nodes()
        except DATABASE_DOWN as error:
            if not self._away:
                log.warning("the nodes' disks are not known: what was last known stands", error=repr(error)[:200])
            self._away = True
            return
        self._away = False
        for node in sorted(nodes - self._nodes):
            log.error("the disk of a node's journal is nearly full: its new calls are refused", node=node)
        for node in sorted(self._nodes - nodes):
            log.warning("the disk of a node's journal has room again", node=node)
        self._nodes = nodes
