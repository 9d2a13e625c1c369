"""Whose call it is: any originators, addresses and numbers against an oracle that compares bits and characters."""

import dataclasses
import ipaddress
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from snapshots import RawWorld, make_snapshot, peer

from router.core.identify import identify
from router.snapshot.config import Peer
from router.snapshot.store import Snapshot, by_host
from schemas.refusals import Refusal

# Few addresses, so that networks lie over each other: 192.0.2.0 to .7 and 2001:db8::0 to ::7, and what contains them.
_FOUR = [f"192.0.2.{last}" for last in range(8)] + ["10.0.0.0", "192.0.3.1", "255.255.255.255"]
_SIX = [f"2001:db8::{last}" for last in range(8)] + ["::", "2001:db9::1"]
_PREFIXES = ["", "1", "12", "123", "1#", "#", "*1", "*"]


@st.composite
def hosts(draw: st.DrawFn) -> str:
    """An address or a network, as inet writes it."""
    text, lengths = draw(
        st.sampled_from(
            [(one, [0, 8, 24, 29, 30, 31, 32]) for one in _FOUR] + [(one, [0, 64, 125, 127, 128]) for one in _SIX]
        )
    )
    return str(ipaddress.ip_network(f"{text}/{draw(st.sampled_from(lengths))}", strict=False))


@st.composite
def originators(draw: st.DrawFn) -> list[Peer]:
    """Any of them, but that of those at one network with one prefix at most one is enabled, as the database has it."""
    found: list[Peer] = []
    for number in range(1, draw(st.integers(0, 9)) + 1):
        host, prefix, enabled = draw(hosts()), draw(st.sampled_from(_PREFIXES)), draw(st.booleans())
        taken = any((one.host, one.tech_prefix, one.enabled) == (host, prefix, True) for one in found)
        found.append(peer(number, originator=True, host=host, tech_prefix=prefix, enabled=enabled and not taken))
    return found


def _bits(address: str) -> str:
    one = ipaddress.ip_address(address)
    return f"{one.version}:{int(one):0{one.max_prefixlen}b}"


def _fits(one: Peer, address: str, dialled: str) -> int:
    """How many characters of address and number fit an originator; -1: it is not one."""
    network, length = one.host.split("/") if "/" in one.host else (one.host, "128")
    bits = _bits(network)[: 2 + int(length)]
    if not _bits(address).startswith(bits) or dialled[: len(one.tech_prefix)] != one.tech_prefix:
        return -1
    return len(one.tech_prefix) * 1_000 + len(bits)


def oracle(peers: list[Peer], address: str, dialled: str) -> tuple[int, str]:
    """Its id (0: nobody) and why not: the one that fits best, and only then is asked whether it is enabled."""
    best, whose = -1, []
    for one in peers:
        score = _fits(one, address, dialled)
        if score > best:
            best, whose = score, [one]
        elif score == best and score >= 0:
            whose.append(one)
    if best < 0:
        return 0, "UNAUTHORISED"
    enabled = [one for one in whose if one.enabled]
    return (enabled or whose)[0].peer_id, "" if enabled else "DISABLED"


Made = Callable[[Sequence[Peer]], Snapshot]


@pytest.fixture(scope="module")
def snapshot_of(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A snapshot that has these originators."""
    directory = tmp_path_factory.mktemp("identify")
    plain = make_snapshot(directory, RawWorld([peer(11, originator=False)], {11: []}, []))

    def make(peers: Sequence[Peer]) -> Snapshot:
        by_address, by_network = by_host(peers)
        return dataclasses.replace(plain, originators=tuple(peers), by_address=by_address, by_network=by_network)

    return make


_WIDE_AND_CLOSED = [
    peer(1, originator=True, host="192.0.2.0/24"),
    peer(2, originator=True, host="192.0.2.5", enabled=False),
    peer(3, originator=True, host="192.0.2.0/29", tech_prefix="1#", enabled=False),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(peers=_WIDE_AND_CLOSED, asked=[("192.0.2.5", "123"), ("192.0.2.1", "1#23"), ("192.0.3.1", "1#23")])
@given(
    peers=originators(),
    asked=st.lists(st.tuples(st.sampled_from(_FOUR + _SIX), st.text("12#*+", max_size=5)), min_size=1, max_size=12),
)
def test_the_originator_is_the_oracles(snapshot_of: Made, peers: list[Peer], asked: list[tuple[str, str]]) -> None:
    snapshot = snapshot_of(peers)
    for address, dialled in asked:
        wire = f"[{address}]:5060" if ":" in address else f"{address}:5060"
        found, refusal = identify(snapshot, wire, dialled)
        wanted = oracle(peers, address, dialled)
        assert (found.peer_id if found else 0, str(refusal or "")) == wanted, (address, dialled)


def test_a_disabled_originators_call_is_never_anothers(snapshot_of: Made) -> None:
    snapshot = snapshot_of(_WIDE_AND_CLOSED)
    wide, closed, closed_prefix = _WIDE_AND_CLOSED
    assert identify(snapshot, "192.0.2.5:5060", "4930") == (closed, Refusal.DISABLED)
    assert identify(snapshot, "192.0.2.1:5060", "1#4930") == (closed_prefix, Refusal.DISABLED)
    assert identify(snapshot, "192.0.2.1:5060", "4930") == (wide, None)
