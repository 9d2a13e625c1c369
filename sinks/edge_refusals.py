"""Requests that nodes refused before their dialplans, in PostgreSQL: written by node agents, kept for a time."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

MOST_ROWS: Final = 200_000
KEPT_DAYS: Final = 30
_AT_ONCE: Final = 10_000  # rows that one statement deletes

# The peer is the originator at the narrowest network that holds the address; where several are there, it is not known.
_WRITE: Final = """
    INSERT INTO edge_refusals (at, node, address, port, peer_id, method, sip_code, reason, sip_call_id, not_recorded)
    SELECT to_timestamp(at_ms / 1000.0), %(node)s, address, port,
           (SELECT CASE WHEN count(*) = 1 THEN min(peer_id) END FROM (
                SELECT peer_id, rank() OVER (ORDER BY masklen(host) DESC) AS place
                FROM peers WHERE role = 'originator' AND host >>= told.address) AS there WHERE place = 1),
           method, sip_code, reason, sip_call_id, not_recorded
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS told (
        at_ms bigint, address inet, port int, method text, sip_code int, reason text, sip_call_id text,
        not_recorded int)
"""
_EXPIRE: Final = """
    DELETE FROM edge_refusals WHERE refusal_id IN (
        SELECT refusal_id FROM edge_refusals
        WHERE at < now() - make_interval(days => %(days)s)
           OR refusal_id <= (SELECT max(refusal_id) FROM edge_refusals) - %(rows)s
        LIMIT %(most)s)
"""
_LIST: Final = """
    SELECT at, node, host(address), edge_refusals.port, peers.name, method, sip_code, reason, sip_call_id, not_recorded
    FROM edge_refusals LEFT JOIN peers USING (peer_id)
    WHERE at >= now() - make_interval(secs => %(seconds)s)
      AND (%(node)s = '' OR node = %(node)s) AND (%(network)s::inet IS NULL OR address <<= %(network)s::inet)
    ORDER BY at DESC, refusal_id DESC LIMIT %(most)s
"""


class EdgeRefusal(NamedTuple):
    """A request that was refused. `not_recorded`: so many of the same source were not, since its record before."""

    at: datetime
    node: str
    address: str
    port: int
    peer: str | None
    method: str
    sip_code: int
    reason: str
    sip_call_id: str
    not_recorded: int


def write(connection: psycopg.Connection[Any], node: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write records: fields as columns are called, `at_ms` in unix milliseconds for `at`."""
    connection.execute(_WRITE, {"node": node, "rows": json.dumps(rows)})


def expire(connection: psycopg.Connection[Any]) -> int:
    """Delete what is older than KEPT_DAYS, or behind the newest MOST_ROWS: so many rows, 10,000 at most."""
    return connection.execute(_EXPIRE, {"days": KEPT_DAYS, "rows": MOST_ROWS, "most": _AT_ONCE}).rowcount


def list_edge_refusals(
    connection: psycopg.Connection[Any], most: int, *, seconds: int, node: str = "", network: str | None = None
) -> list[EdgeRefusal]:
    """Those of the last so many seconds, newest first. `network`: only of sources in it, as `203.0.113.0/24`."""
    values = {"seconds": seconds, "node": node, "network": network, "most": most}
    return [EdgeRefusal(*row) for row in connection.execute(_LIST, values).fetchall()]
