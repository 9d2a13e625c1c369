"""Who calls: the originator, by source address and tech prefix; the most specific wins. Pure."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from router.snapshot.config import Peer
from router.snapshot.store import Address, Snapshot
from schemas.refusals import Refusal


class Identified(NamedTuple):
    """The originator, or why there is none. A disabled one is named, so that its refusal is counted to it."""

    peer: Peer | None
    refusal: Refusal | None


def identify(snapshot: Snapshot, remote_address: str, dialled: str) -> Identified:
    """The originator that sends from this address, with the longest tech prefix that `dialled` begins with.

    `remote_address` is `ip` or `ip:port`. Asterisk's own endpoint is no argument: it knows one endpoint by an address
    and no tech prefixes, so of several originators at one address it may name any. Nobody fits: UNAUTHORISED. Only
    disabled ones fit: DISABLED.
    """
    address = _address(remote_address)
    if address is None:
        return Identified(None, Refusal.UNAUTHORISED)
    found: list[tuple[int, Peer]] = [(address.max_prefixlen, peer) for peer in snapshot.by_address.get(address, ())]
    found += [(network.prefixlen, peer) for network, peer in snapshot.by_network if address in network]
    fitting = [(length, peer) for length, peer in found if dialled.startswith(peer.tech_prefix)]
    enabled = [(length, peer) for length, peer in fitting if peer.enabled]
    if not enabled:
        return Identified(fitting[0][1], Refusal.DISABLED) if fitting else Identified(None, Refusal.UNAUTHORISED)
    return Identified(max(enabled, key=lambda one: (len(one[1].tech_prefix), one[0]))[1], None)


@lru_cache(maxsize=65_536)
def _address(remote_address: str) -> Address | None:
    host = remote_address
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
