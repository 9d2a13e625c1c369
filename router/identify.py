"""Who calls: the originator, by endpoint, source address and tech prefix; the most specific wins. Pure."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from router.snapshot.config import Peer
from router.snapshot.store import Snapshot
from schemas.refusals import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Identified(NamedTuple):
    """The originator, or why there is none. A disabled one is named, so that its refusal is counted to it."""

    peer: Peer | None
    refusal: Refusal | None


def identify(snapshot: Snapshot, endpoint: str, remote_address: str, dialled: str) -> Identified:
    """The originator that sends from this address, with the longest tech prefix that `dialled` begins with.

    `endpoint` is what Asterisk recognised; it narrows the search but never replaces the address. `remote_address` is
    `ip` or `ip:port`. Nobody fits: UNAUTHORISED. Only disabled ones fit: DISABLED.
    """
    address = _address(remote_address)
    if address is None:
        return Identified(None, Refusal.UNAUTHORISED)
    fitting = [
        peer
        for peer in snapshot.by_endpoint.get(endpoint) or snapshot.originators
        if address in _network(peer.host) and dialled.startswith(peer.tech_prefix)
    ]
    enabled = [peer for peer in fitting if peer.enabled]
    if not enabled:
        return Identified(fitting[0], Refusal.DISABLED) if fitting else Identified(None, Refusal.UNAUTHORISED)
    return Identified(max(enabled, key=lambda peer: (len(peer.tech_prefix), _network(peer.host).prefixlen)), None)


@lru_cache(maxsize=65_536)
def _network(host: str) -> Network:
    return ipaddress.ip_network(host, strict=False)


@lru_cache(maxsize=65_536)
def _address(remote_address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host = remote_address
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
