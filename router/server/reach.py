"""Which vendors do not answer, by node, as a router knows it: read every second, beside the calls.

A vendor that is skipped is not among the routes of a call. When its skip is over, one call of all routers tries it
(router/server/reachability.py): the first that would go to it asks PostgreSQL for the try, and whoever does not get it
decides anew without the vendor. PostgreSQL away, or a node that nobody hears of: every vendor is called.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog

from router.server.polling import DATABASE_DOWN
from router.server.reachability import Standing, turn_of
from sinks.reachability import Skipped

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 1.0
PROBES_UNANSWERED: Final = "its OPTIONS probes are not answered"
_NONE: Final[Mapping[int, str]] = MappingProxyType({})


class _Vendor(NamedTuple):
    """`skip_until` is PostgreSQL's moment, by which a try is known; `until_ms` the same by this process's clock."""

    why: str
    probed: bool
    until_ms: int | None
    skip_until: datetime | None


class Try(NamedTuple):
    """A vendor whose skip is over, as it was read."""

    node: str
    peer_id: int
    skip_until: datetime


def why_silent(invites: int) -> str:
    """How it is known that a vendor does not answer INVITEs."""
    return f"the last {invites} INVITEs to it had no SIP response"


def by_node(rows: Iterable[Skipped], at_ms: int) -> dict[str, dict[int, _Vendor]]:
    """The rows as they are at `at_ms`, when they were read."""
    found: dict[str, dict[int, _Vendor]] = {}
    for row in rows:
        until_ms = None if row.skip_ms is None else at_ms + row.skip_ms
        why = PROBES_UNANSWERED if row.probed else why_silent(row.silent_invites)
        found.setdefault(row.node, {})[row.peer_id] = _Vendor(why, row.probed, until_ms, row.skip_until)
    return found


def unreachable_in(vendors: Mapping[int, _Vendor], at_ms: int) -> Mapping[int, str]:
    """Those that are skipped at `at_ms`, by peer id, with how it is known."""
    return {
        peer_id: vendor.why
        for peer_id, vendor in vendors.items()
        if vendor.probed or turn_of(Standing(skip_until_ms=vendor.until_ms), at_ms) == "skip"
    }


class Reach:
    """`read` gives the rows, `take` asks PostgreSQL for a try; both may raise what is in DATABASE_DOWN."""

    def __init__(self, read: Callable[[], Awaitable[list[Skipped]]], take: Callable[[Try], Awaitable[bool]]) -> None:
        self._read = read
        self._take = take
        self._vendors: dict[str, dict[int, _Vendor]] = {}
        self._tried: dict[tuple[str, int], datetime] = {}  # what this router has tried, until other rows are read

    def unreachable(self, node: str) -> Mapping[int, str]:
        """The vendors that calls of a node skip now, by peer id, with how it is known."""
        vendors = self._vendors.get(node)
        if not vendors:
            return _NONE
        found = dict(unreachable_in(vendors, _monotonic_ms()))
        for peer_id, vendor in vendors.items():
            if self._tried.get((node, peer_id)) == vendor.skip_until is not None:
                found[peer_id] = vendor.why
        return found

    def due(self, node: str, peer_ids: Iterable[int]) -> Try | None:
        """The first of these vendors whose skip is over: a call that would go to it has to get the try."""
        vendors = self._vendors.get(node)
        if not vendors:
            return None
        for peer_id in peer_ids:
            vendor = vendors.get(peer_id)
            if vendor is not None and vendor.skip_until is not None:
                return Try(node, peer_id, vendor.skip_until)
        return None

    async def take(self, wanted: Try) -> bool:
        """Whether this call is the one that tries the vendor. From here on no other of this router is."""
        self._tried[wanted.node, wanted.peer_id] = wanted.skip_until
        try:
            return await self._take(wanted)
        except DATABASE_DOWN as error:
            log.warning("a vendor is not tried: PostgreSQL is away", error=repr(error)[:200])
            return False

    async def look(self) -> None:
        """Ask once."""
        at_ms = _monotonic_ms()
        try:
            self._vendors = by_node(await self._read(), at_ms)
        except DATABASE_DOWN as error:
            if self._vendors:
                log.warning("which vendors answer is not known", error=repr(error)[:200])
            self._vendors = {}
        there = {
            (node, peer_id): one.skip_until
            for node, vendors in self._vendors.items()
            for peer_id, one in vendors.items()
        }
        self._tried = {key: at for key, at in self._tried.items() if there.get(key) == at}


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
