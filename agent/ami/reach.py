"""Keeps in PostgreSQL which vendors this node reaches: by what became of INVITEs, and by OPTIONS where they are probed.

A thread with a connection of its own: a few times a second it reads what the journal tells of INVITEs, and reports what
has changed at once. PostgreSQL away: what was seen is reported when it is back; meanwhile routers call every vendor.
"""

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

import psycopg
import structlog

from agent.ami.invites import Standings
from agent.ami.invites_tail import InvitesTail
from agent.postgres import connect
from agent.settings import AgentSettings
from runtime.metrics import Bounded
from sinks import reachability
from sinks.reachability import MOST_VENDORS, Probe, Report, Vendor

log = structlog.get_logger(__name__)
POLL_SECONDS: Final = 0.1
RENEW_SECONDS: Final = 5.0  # so old may a response be that is shown
_VENDORS_SECONDS: Final = 2.0  # between two looks at which vendors there are
_MOST_RESPONSES: Final = 10_000
VENDORS: Final = Bounded("agent_vendors_followed", "Vendors of which it is known whether they answer.")
RESPONSES: Final = Bounded("agent_responses_waiting", "Vendors' responses to INVITEs that wait to be counted.")
_NONE: Final[Mapping[int, Vendor]] = MappingProxyType({})


class Reach:
    """`responded` and `probed` take what AMI shows, from any thread; `vendors` are those there are, by peer id."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._standings = Standings()
        self._responses: queue.Queue[str] = queue.Queue(_MOST_RESPONSES)
        self._probes: dict[int, Probe | None] = {}
        self._probes_guard = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._vendors_at = float("-inf")
        self._endpoints: dict[str, int] = {}
        self.vendors: Mapping[int, Vendor] = _NONE
        self.health = ""
        VENDORS.watch(MOST_VENDORS, lambda: len(self.vendors))
        RESPONSES.watch(_MOST_RESPONSES, self._responses.qsize)

    def responded(self, endpoint: str) -> None:
        """A vendor's channel rings, or is answered."""
        try:
            self._responses.put_nowait(endpoint)
        except queue.Full:
            RESPONSES.lose()  # its leg's end tells of it, too

    def probed(self, found: Mapping[int, Probe | None]) -> None:
        """What OPTIONS have shown just now, by peer id; None: a vendor that is not probed any more."""
        with self._probes_guard:
            self._probes.update(found)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises OSError of the journal."""
        tail = InvitesTail(self._settings.directory / "journal")
        try:
            while not stop.wait(POLL_SECONDS):
                now_ms = _monotonic_ms()
                for invite in tail.read():
                    self._standings.take(invite, now_ms)
                try:
                    self._round(now_ms)
                    self.health = ""
                except psycopg.Error as error:
                    if not self.health:
                        log.warning("which vendors answer is not reported", error=repr(error)[:300])
                    self.health = "vendors' reachability is not reported"
                    self._disconnect()
                    stop.wait(self._settings.retry_seconds)
        finally:
            self._disconnect()

    def _round(self, now_ms: int) -> None:
        if self._connection is None:
            self._connection = self._connect()
            self._vendors_at = float("-inf")
            self._standings.learn(reachability.known_of_node(self._connection, self._settings.node), now_ms)
        connection, node = self._connection, self._settings.node
        if time.monotonic() - self._vendors_at > _VENDORS_SECONDS:
            self._look_at_vendors(connection)
        for _ in range(self._responses.qsize()):
            if (peer_id := self._endpoints.get(self._responses.get_nowait())) is not None:
                self._standings.responded(peer_id, now_ms)
        reports = self._standings.reports(now_ms, int(RENEW_SECONDS * 1000))
        if reports:
            reachability.report(connection, node, reports)
            self._standings.reported(reports, now_ms)
            self._say(reports)
        with self._probes_guard:
            probes = dict(self._probes)
        if probes:
            reachability.report_probes(connection, node, probes.items())
            with self._probes_guard:
                self._probes = {one: state for one, state in self._probes.items() if probes.get(one, "") != state}

    def _look_at_vendors(self, connection: psycopg.Connection[Any]) -> None:
        found = {vendor.peer_id: vendor for vendor in reachability.vendors(connection)}
        if len(found) == MOST_VENDORS:
            VENDORS.lose()
        self.vendors = MappingProxyType(found)
        self._endpoints = {vendor.endpoint: vendor.peer_id for vendor in found.values()}
        self._standings.keep(found)
        self._vendors_at = time.monotonic()

    def _say(self, reports: Sequence[Report]) -> None:
        for one in reports:
            if one.skip_ms is not None:
                endpoint = self.vendors[one.peer_id].endpoint if one.peer_id in self.vendors else ""
                log.warning(
                    "vendor skipped: its last INVITEs had no response", vendor=endpoint, invites=one.silent_invites
                )

    def _connect(self) -> psycopg.Connection[Any]:
        settings, seconds = self._settings, self._settings.postgres_seconds
        options = f"-c statement_timeout={int(seconds * 1000)} -c synchronous_commit=off"
        return connect(settings, f"node-agent {settings.node} vendors", seconds, options)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
