"""The peers that a node serves, as PostgreSQL has them now."""

from typing import Any, Final

import psycopg

from configuration.asterisk.render import SipPeer

# Originators at one network (told apart by tech prefix, by the router) are one for PJSIP: an enabled one of them, and
# what its endpoint has they have all (originators_that_differ).
_PEERS: Final = """
    SELECT name, role, endpoint, address, port, codecs, trusted, probe FROM (
        SELECT name, role, endpoint, port, codecs, trusted, probe, peer_id, abbrev(network(host)::inet) AS address,
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
