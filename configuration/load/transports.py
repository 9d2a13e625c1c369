"""Peers that a node has no transport for: an IPv6 address where the node listens on IPv4 alone is refused.

Asterisk would take it, and every call of it would fail. What a node has, it reports itself at each start (`sip_ipv6`).
"""

from typing import Final

from configuration.entities.document import World
from runtime.changing import Connection

_WITHOUT: Final = """
    SELECT peers.name, string_agg(nodes.name, ', ' ORDER BY nodes.name)
    FROM peers JOIN nodes ON NOT nodes.sip_ipv6 AND (
        NOT EXISTS (SELECT FROM peer_nodes AS own WHERE own.peer_id = peers.peer_id)
        OR EXISTS (SELECT FROM peer_nodes AS own WHERE own.peer_id = peers.peer_id AND own.node_id = nodes.node_id))
    WHERE family(peers.host) = 6 AND peers.name = ANY (%s)
    GROUP BY peers.name
"""


def without_transport(connection: Connection, world: World) -> list[str]:
    """An error for each of the file's peers with an IPv6 address on a node without IPv6."""
    places = {
        peer.name: (f"companies[{at}].peers[{place}]", peer.host)
        for at, company in enumerate(world.companies)
        for place, peer in enumerate(company.peers)
        if ":" in peer.host
    }
    lacking = dict(connection.execute(_WITHOUT, (list(places),)).fetchall()) if places else {}
    return [
        f"{path}.host {host!r}: is IPv6, and there is no IPv6 transport on {lacking[name]}: set STREAMCO_SIP_HOST_IPV6"
        " there and start it anew, or name other nodes"
        for name, (path, host) in places.items()
        if name in lacking
    ]
