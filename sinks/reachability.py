"""Which vendors answer on which node, in PostgreSQL: reported by node agents, read by routers, pages and commands.

The rule itself is in router/server/reachability.py. Moments are PostgreSQL's own: who reports says how long something
still lasts, so that no two clocks are compared. What an agent has reported counts only while its node is heard of.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import psycopg

Probe = Literal["reachable", "unreachable", "unknown"]
State = Literal["reachable", "silent", "skipped", "due", "unreachable", "unknown"]
# In the statements below: a node that was not heard of for 15 s knows nothing of its vendors.
MOST_VENDORS: Final = 10_000

_REPORT: Final = """
    INSERT INTO vendor_reachability AS known
        (node, peer_id, silent_invites, last_silent_at, last_response_at, skip_until)
    SELECT %(node)s, peer_id, silent_invites,
           clock_timestamp() - silent_ms_ago * interval '1 millisecond',
           clock_timestamp() - response_ms_ago * interval '1 millisecond',
           clock_timestamp() + skip_ms * interval '1 millisecond'
    FROM jsonb_to_recordset(%(rows)s::jsonb)
         AS told (peer_id int, silent_invites int, silent_ms_ago bigint, response_ms_ago bigint, skip_ms bigint)
    WHERE EXISTS (SELECT FROM peers WHERE peers.peer_id = told.peer_id)
    ON CONFLICT (node, peer_id) DO UPDATE
    SET silent_invites = excluded.silent_invites,
        last_silent_at = coalesce(excluded.last_silent_at, known.last_silent_at),
        last_response_at = coalesce(excluded.last_response_at, known.last_response_at),
        -- a router's try may have begun a later skip meanwhile
        skip_until = CASE WHEN excluded.skip_until IS NULL THEN NULL
                          ELSE greatest(excluded.skip_until, known.skip_until) END,
        reported_at = clock_timestamp()
"""
_PROBED: Final = """
    INSERT INTO vendor_reachability AS known (node, peer_id, probe, probe_since, probed_at)
    SELECT %(node)s, peer_id, probe, clock_timestamp(), clock_timestamp()
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (peer_id int, probe text)
    WHERE EXISTS (SELECT FROM peers WHERE peers.peer_id = told.peer_id)
    ON CONFLICT (node, peer_id) DO UPDATE
    SET probe = excluded.probe, probed_at = CASE WHEN excluded.probe IS NOT NULL THEN clock_timestamp() END,
        probe_since = CASE WHEN known.probe IS NOT DISTINCT FROM excluded.probe THEN known.probe_since
                           WHEN excluded.probe IS NOT NULL THEN clock_timestamp() END,
        reported_at = clock_timestamp()
"""
_OF_NODE: Final = """
    SELECT peer_id, silent_invites, (extract(epoch FROM skip_until - clock_timestamp()) * 1000)::bigint, probe
    FROM vendor_reachability WHERE node = %s LIMIT %s
"""
_VENDORS: Final = "SELECT peer_id, endpoint, probe FROM peers WHERE role = 'terminator' ORDER BY peer_id LIMIT %s"
# For the routers: vendors that are not simply called. What probes have shown counts only of a vendor that is probed.
SKIPPED: Final = """
    SELECT node, peer_id, silent_invites, (extract(epoch FROM skip_until - clock_timestamp()) * 1000)::bigint,
           skip_until, coalesce(peers.probe AND vendor_reachability.probe = 'unreachable', false)
    FROM vendor_reachability JOIN peers USING (peer_id) JOIN nodes ON nodes.name = node
    WHERE (skip_until IS NOT NULL OR peers.probe AND vendor_reachability.probe = 'unreachable')
      AND nodes.last_seen_at > clock_timestamp() - interval '15 seconds'
    LIMIT 10000
"""
# One router's try: it changes the row that it has read, or another router was there before.
TRY: Final = """
    UPDATE vendor_reachability SET skip_until = clock_timestamp() + %(skip_ms)s * interval '1 millisecond'
    WHERE node = %(node)s AND peer_id = %(peer_id)s AND skip_until = %(skip_until)s AND skip_until <= clock_timestamp()
"""
_LIST: Final = """
    SELECT node, peers.name, vendor_reachability.peer_id, silent_invites, last_silent_at, last_response_at, skip_until,
           CASE WHEN peers.probe THEN vendor_reachability.probe END, probe_since, probed_at, clock_timestamp(),
           coalesce(nodes.last_seen_at > clock_timestamp() - interval '15 seconds', false)
    FROM vendor_reachability JOIN peers USING (peer_id) LEFT JOIN nodes ON nodes.name = node
    WHERE (%(node)s = '' OR node = %(node)s)
      AND (NOT %(only_bad)s OR skip_until IS NOT NULL OR silent_invites > 0
           OR peers.probe AND vendor_reachability.probe = 'unreachable')
    ORDER BY (skip_until IS NULL AND (NOT peers.probe OR vendor_reachability.probe IS DISTINCT FROM 'unreachable')),
             peers.name, node
    LIMIT %(most)s
"""


class Report(NamedTuple):
    """What a node's INVITEs say of a vendor. Milliseconds ago, or from now on (`skip_ms`); None: never, or not."""

    peer_id: int
    silent_invites: int
    silent_ms_ago: int | None
    response_ms_ago: int | None
    skip_ms: int | None


class Vendor(NamedTuple):
    """A terminator, as a node calls it."""

    peer_id: int
    endpoint: str
    probe: bool


class Known(NamedTuple):
    """What PostgreSQL has of a vendor on a node. `skip_ms`: until then it is skipped, from now on; None: it is not."""

    peer_id: int
    silent_invites: int
    skip_ms: int | None
    probe: Probe | None


class Skipped(NamedTuple):
    """A vendor that a router may not simply call. A try must find `skip_until` unchanged; `probed`: OPTIONS say so."""

    node: str
    peer_id: int
    silent_invites: int
    skip_ms: int | None
    skip_until: datetime | None
    probed: bool


class Reachability(NamedTuple):
    """A vendor on a node, as people see it. `at`: PostgreSQL's clock as this was read; `heard`: the node is alive."""

    node: str
    vendor: str
    peer_id: int
    silent_invites: int
    last_silent_at: datetime | None
    last_response_at: datetime | None
    skip_until: datetime | None
    probe: Probe | None
    probe_since: datetime | None
    probed_at: datetime | None
    at: datetime
    heard: bool

    @property
    def state(self) -> State:
        """`due`: its skip is over, and the next call tries it. `silent`: some INVITEs had no response, too few yet."""
        if not self.heard:
            return "unknown"
        if self.probe == "unreachable":
            return "unreachable"
        if self.skip_until is not None:
            return "skipped" if self.skip_until > self.at else "due"
        if self.silent_invites:
            return "silent"
        return "reachable" if self.last_response_at is not None or self.probe == "reachable" else "unknown"

    @property
    def age_seconds(self) -> float | None:
        """How old the newest sign is that the state rests on; None: there has been none."""
        signs = [self.probed_at, self.last_response_at, self.last_silent_at]
        newest = max((sign for sign in signs if sign is not None), default=None)
        return None if newest is None else max(0.0, (self.at - newest).total_seconds())


def report(connection: psycopg.Connection[Any], node: str, reports: Sequence[Report]) -> None:
    """Write what a node's INVITEs say."""
    rows = json.dumps([one._asdict() for one in reports])
    connection.execute(_REPORT, {"node": node, "rows": rows})


def report_probes(connection: psycopg.Connection[Any], node: str, probes: Iterable[tuple[int, Probe | None]]) -> None:
    """Write what a node's OPTIONS say, by vendor's peer id; None: it is not probed any more."""
    rows = json.dumps([{"peer_id": peer_id, "probe": probe} for peer_id, probe in probes])
    connection.execute(_PROBED, {"node": node, "rows": rows})


def known_of_node(connection: psycopg.Connection[Any], node: str) -> list[Known]:
    """What an agent of the node has reported before."""
    return [Known(*row) for row in connection.execute(_OF_NODE, (node, MOST_VENDORS)).fetchall()]


def vendors(connection: psycopg.Connection[Any]) -> list[Vendor]:
    """All terminators, MOST_VENDORS at most."""
    return [Vendor(*row) for row in connection.execute(_VENDORS, (MOST_VENDORS,)).fetchall()]


def list_reachability(
    connection: psycopg.Connection[Any], most: int, *, node: str = "", only_bad: bool = False
) -> list[Reachability]:
    """Vendors by node, those that are not reachable first. `only_bad`: of the others none."""
    values = {"node": node, "only_bad": only_bad, "most": most}
    return [Reachability(*row) for row in connection.execute(_LIST, values).fetchall()]
