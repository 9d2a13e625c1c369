"""Snapshots for tests, made from plain rows through the very code that makes them from PostgreSQL."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy

from router.build.assemble import Assembly
from router.snapshot import store
from router.snapshot.config import (
    CONFIG_VERSION,
    Account,
    CodeLimit,
    Config,
    Destination,
    HuntingClass,
    Pack,
    Peer,
    Rate,
    RouteClass,
    RouteEntry,
)
from router.snapshot.manifest import write_generation
from router.snapshot.matrix import MOST_VENDORS
from router.snapshot.prices import Deck, RawDeck, begun_ms, in_force, raw_deck

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
    price_priorities: Mapping[int, int] = field(default_factory=dict)
    code_limits: Sequence[CodeLimit] = ()


def deck_of(prices: Sequence[PriceRow], deck_id: int) -> RawDeck:
    """A deck as the reader gets it from PostgreSQL."""
    rows = [
        (int(code), len(code), effective_ms, -1 if price_e8 is None else price_e8, deck_id * 100_000 + number)
        for number, (code, effective_ms, price_e8) in enumerate(prices)
    ]
    return raw_deck(*numpy.array(rows, dtype=numpy.int64).reshape(-1, 5).T)


class RawDecks:
    """Decks of plain rows as of a moment. `versions`: where decks change, so that what is unchanged is told."""

    def __init__(
        self, prices: Mapping[int, Sequence[PriceRow]], now_ms: int, versions: Mapping[int, int] | None = None
    ) -> None:
        self._raw = {deck_id: deck_of(rows, deck_id) for deck_id, rows in prices.items()}
        self._now_ms = now_ms
        self._versions = versions or {}

    def key(self, deck_id: int, *, allow_free: bool) -> str:
        begun = begun_ms(self._deck(deck_id).moments_ms, self._now_ms)
        return f"deck-{deck_id}-{self._versions.get(deck_id, 1)}@{begun}.{allow_free:d}"

    def deck(self, deck_id: int, *, allow_free: bool) -> Deck:
        return in_force(self._deck(deck_id), self._now_ms, allow_free=allow_free)

    def _deck(self, deck_id: int) -> RawDeck:
        return self._raw.get(deck_id) or deck_of([], deck_id)


def config_of(world: RawWorld, now_ms: int = NOW_MS) -> Config:
    """The configuration of a world."""
    return Config(
        version=CONFIG_VERSION, generation=1, taken_at_ms=now_ms, next_change_at_ms=None, peers=tuple(world.peers),
        route_classes=tuple(world.classes)
        or (RouteClass(1, "all", tuple(RouteEntry(*entry) for entry in world.entries)),),
        hunting_classes=tuple(world.hunting_classes), rates=dict(world.rates),
        price_priorities=dict(world.price_priorities), code_limits=tuple(world.code_limits),
        destinations=tuple(world.destinations), decks=tuple((deck_id, 1) for deck_id in world.prices),
    )  # fmt: skip


def make_snapshot(
    directory: Path, world: RawWorld, now_ms: int = NOW_MS, most_vendors: int = MOST_VENDORS
) -> store.Snapshot:
    """Write and load the snapshot of a world at a moment."""
    config = config_of(world, now_ms)
    name = f"g{next(_numbers)}"
    decks = RawDecks(world.prices, now_ms)
    manifest = Assembly(directory, decks, EXPECTED_SECONDS, rates=world.rates, most_vendors=most_vendors).run(config)
    write_generation(directory, name, config, manifest)
    return store.load(directory, name, checked=True)


def with_changes(value: Peer, **changes: Any) -> Peer:
    """The peer with other values."""
    return msgspec.structs.replace(value, **changes)
