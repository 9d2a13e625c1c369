"""The peers that a node serves, as PostgreSQL has them now; and what PostgreSQL is told of the node's transports."""

from typing import Any, Final

import psycopg

from configuration.asterisk.render import SipPeer
from configuration.settings import NodeSettings

# Originators at one network (told apart by tech prefix, by the router) are one for PJSIP: an enabled one of them, and
# what its endpoint has they have all (originators_that_differ).
_PEERS: Final = """
    SELECT name, role, endpoint, address, port, codecs, trusted, probe, rtp_timeout_seconds, rtp_timeout_hold_seconds
    FROM (
        SELECT name, role, endpoint, port, codecs, trusted, probe, rtp_timeout_seconds, rtp_timeout_hold_seconds,
               peer_id, abbrev(network(host)::inet) AS address,
               row_number() OVER (PARTITION BY role, CASE role WHEN 'originator' THEN network(host) END,
                   CASE role WHEN 'terminator' THEN peer_id END ORDER BY enabled DESC, peer_id) AS number
        FROM peers
        WHERE NOT EXISTS (SELECT 1 FROM peer_nodes WHERE peer_nodes.peer_id = peers.peer_id)
           OR EXISTS (SELECT 1 FROM peer_nodes JOIN nodes USING (node_id)
                      WHERE peer_nodes.peer_id = peers.peer_id AND nodes.name = %s)
    ) AS known
    WHERE number = 1 ORDER BY peer_id
"""


def read_peers(connection: psycopg.Connection[Any], node: str) -> list[SipPeer]:
    """All peers of a node, disabled ones too: those are refused by the router, with a record."""
    return [SipPeer(*row) for row in connection.execute(_PEERS, (node,)).fetchall()]


def report_transports(connection: psycopg.Connection[Any], settings: NodeSettings) -> None:
    """Tell those who save peers which of them this node can reach (configuration/load/transports.py)."""
    connection.execute(
        "INSERT INTO nodes (name, sip_ipv6) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET sip_ipv6 ="
        " excluded.sip_ipv6 WHERE nodes.sip_ipv6 <> excluded.sip_ipv6",
        (settings.node, bool(settings.sip_host_ipv6)),
    )
