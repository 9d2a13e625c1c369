"""Snapshots for tests, made from plain rows through the very code that makes them from PostgreSQL."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy

from router.snapshot import store
from router.snapshot.config import (
    CONFIG_VERSION,
    Account,
    Config,
    Destination,
    HuntingClass,
    Pack,
    Peer,
    Rate,
    RouteClass,
    RouteEntry,
)
from router.snapshot.prices import deck_arrays, in_force, vendor_arrays

NOW_MS = 1_795_609_900_000
EXPECTED_SECONDS = 180
PACK = Pack(1, "USD", 1, 1, 0, 0, 6, "up", False)
_numbers = itertools.count(1)
PriceRow = tuple[str, int, int | None]  # code, effective_ms, price_e8 (None: blocked)


def peer(peer_id: int, *, originator: bool, **changes: Any) -> Peer:
    """A peer with ordinary values: deck number = peer number, company number = peer number."""
    kind = "c" if originator else "v"
    values: dict[str, Any] = {
        "peer_id": peer_id, "company_id": peer_id, "name": f"{kind}{peer_id}", "originator": originator,
        "enabled": True,
        "endpoint": f"{kind}-{kind}{peer_id}", "host": f"127.0.{2 - originator}.{peer_id % 250}/32",
        "tech_prefix": "", "account": Account(1000 + peer_id, False, False), "pack": PACK, "deck_id": peer_id,
        "route_class_id": 1 if originator else 0, "max_concurrent": 0, "max_cps": 0, "max_call_seconds": 14_400,
        "profit": "no_losses", "minimum_margin_e8": 0, "ring_seconds": 60, "allow_special": False, **changes,
    }  # fmt: skip
    return Peer(**values)


@dataclass
class RawWorld:
    """Rows as they would lie in PostgreSQL."""

    peers: Sequence[Peer]
    prices: Mapping[int, Sequence[PriceRow]]  # by deck
    entries: Sequence[tuple[int, int, bool]]  # route class 1: peer_id, priority, enabled
    destinations: Sequence[Destination] = field(default_factory=list)
    classes: Sequence[RouteClass] = ()  # in place of `entries`
    hunting_classes: Sequence[HuntingClass] = ()
    rates: Mapping[str, Rate] = field(default_factory=dict)


def deck_rows(prices: Sequence[PriceRow], deck_id: int) -> Any:
    """Rows as the reader gets them by COPY."""
    rows = [
        (int(code), len(code), effective_ms, -1 if price_e8 is None else price_e8, deck_id * 100_000 + number)
        for number, (code, effective_ms, price_e8) in enumerate(prices)
    ]
    return numpy.array(rows, dtype=numpy.int64).reshape(-1, 5)


def make_snapshot(directory: Path, world: RawWorld, now_ms: int = NOW_MS) -> store.Snapshot:
    """Write and load the snapshot of a world at a moment."""
    vendors = [peer for peer in world.peers if not peer.originator]
    config = Config(
        version=CONFIG_VERSION, generation=1, taken_at_ms=now_ms, next_change_at_ms=None, peers=tuple(world.peers),
        route_classes=tuple(world.classes)
        or (RouteClass(1, "all", tuple(RouteEntry(*entry) for entry in world.entries)),),
        hunting_classes=tuple(world.hunting_classes), rates=dict(world.rates),
        destinations=tuple(world.destinations), decks=tuple((deck_id, 1) for deck_id in world.prices),
    )  # fmt: skip

    def deck(deck_id: int, allow_free: bool) -> Any:
        return in_force(deck_rows(world.prices.get(deck_id, []), deck_id), now_ms, allow_free=allow_free)[0]

    matrix = vendor_arrays(
        [deck(vendor.deck_id, vendor.pack.allow_free_codes) for vendor in vendors],
        [vendor.pack for vendor in vendors],
        EXPECTED_SECONDS,
        world.rates,
    )
    sold = sorted({peer.deck_id for peer in world.peers if peer.originator})
    store.write(
        directory, f"g{next(_numbers)}", config, matrix, {deck_id: deck_arrays(deck(deck_id, True)) for deck_id in sold}
    )
    return store.load(directory, store.newest(directory))


def with_changes(value: Peer, **changes: Any) -> Peer:
    """The peer with other values."""
    return msgspec.structs.replace(value, **changes)
