"""Who calls: the originator, by source address and tech prefix; the most specific wins. Pure."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from router.snapshot.config import Peer
from router.snapshot.store import Address, Snapshot
from schemas.refusals import Refusal


class _Host(NamedTuple):
    """An address, and its text as Snapshot.by_address has it: to hash the address itself takes three times as long."""

    text: str
    address: Address


def identify(snapshot: Snapshot, remote_address: str, dialled: str) -> tuple[Peer | None, Refusal | None]:
    """The originator whose call this is, or why there is none.

    Of all originators whose address and tech prefix fit, disabled ones included: the longest prefix, then the longest
    network. If that one is disabled the call is refused, DISABLED, and it is named beside the refusal, so that this is
    counted to it. Never does the next one take the call: it would pay for another customer's. Only an enabled one at
    the very same network with the very same prefix has taken the disabled one's place. Nobody fits: UNAUTHORISED.

    `remote_address` is `ip` or `ip:port`. Asterisk's own endpoint is no argument: it knows one endpoint by a network
    and no tech prefixes, so of several originators at one network it may name any.
    """
    host = _host(remote_address)
    if host is None:
        return None, Refusal.UNAUTHORISED
    here = snapshot.by_address.get(host.text, ())
    if len(here) == 1 and not snapshot.by_network:  # as a rule: nobody to choose from
        only = here[0]
        if dialled.startswith(only.tech_prefix):
            return only, None if only.enabled else Refusal.DISABLED
        return None, Refusal.UNAUTHORISED
    address = host.address
    found: list[tuple[int, Peer]] = [(address.max_prefixlen, peer) for peer in here]
    found += [(network.prefixlen, peer) for network, peer in snapshot.by_network if address in network]
    fitting = [(length, peer) for length, peer in found if dialled.startswith(peer.tech_prefix)]
    if not fitting:
        return None, Refusal.UNAUTHORISED
    _, peer = max(fitting, key=lambda one: (len(one[1].tech_prefix), one[0], one[1].enabled))
    return peer, None if peer.enabled else Refusal.DISABLED


@lru_cache(maxsize=65_536)
def _host(remote_address: str) -> _Host | None:
    host = remote_address
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return _Host(str(address), address)
