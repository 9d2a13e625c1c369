"""A made-up market for P1 and P10: vendors with A–Z decks of nested codes, one customer, one route class.

Codes are made as real ones nest: some two hundred countries, ranges of four to nine digits in them. Every vendor has
all countries and a random part of the ranges; prices differ by country, range and vendor; one code in a hundred is
blocked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy
from numpy.typing import NDArray

from router.build.assemble import Assembly
from router.snapshot.code_index import keys_of, sort_codes, split_keys
from router.snapshot.config import CONFIG_VERSION, Account, Config, HuntingClass, Pack, Peer, RouteClass, RouteEntry
from router.snapshot.manifest import ARRAYS, Manifest, Pointer, write_generation, write_pointer
from router.snapshot.prices import Deck
from schemas.quality import Quality

EXPECTED_SECONDS: Final = 180
PACKS: Final = (
    Pack(1, "USD", 1, 1, 0, 0, 6, "up", False),
    Pack(2, "USD", 30, 6, 0, 0, 6, "up", False),
    Pack(3, "USD", 60, 60, 0, 500, 6, "up", False),
)
CUSTOMER_ID: Final = 1_000
# A customer for each order, the first with none of his own: by address 127.0.0.10 and the next ones.
ORDERS: Final = (
    "",
    "asr/5, cost",
    "asr, cost",
    "cost/0.001, asr/5, random",
    "portion, acd/10, cost",
    "asr_code/5, acd_code/30, cost/0.001, random",
)
_SPARE: Final = 1.57  # distinct codes of the market, for each code of one deck


@dataclass(frozen=True)
class Market:
    """The decks as the builder has them in memory, and all that is about them."""

    config: Config
    vendor_decks: Sequence[Deck]
    vendor_packs: Sequence[Pack]
    customer_deck: Deck
    codes: Sequence[str]


def make_market(prices: int, vendors: int, seed: int = 1, priorities: int = 1) -> Market:
    """A market of about `prices` prices of `vendors` vendors; the customer may use all, in so many priorities."""
    rng = numpy.random.default_rng(seed)
    each = max(1_000, prices // vendors)
    codes, lengths = _codes(rng, int(each * _SPARE))
    level_e8 = numpy.exp(rng.normal(14.2, 1.0, len(codes))).astype(numpy.int64)  # about 0.015 a minute
    countries = lengths <= 3
    decks: list[Deck] = []
    row_id = 1
    for vendor in range(vendors):
        chosen = countries.copy()
        chosen[rng.choice(len(codes), each - int(countries.sum()), replace=False)] = True
        price = (
            level_e8[chosen] * rng.normal(1.0, 0.15, int(chosen.sum())).clip(0.4, 2.0) * (0.9 + vendor % 7 / 30)
        ).astype(numpy.int64)
        price[rng.random(len(price)) < 0.01] = -1
        decks.append(Deck(keys_of(codes[chosen], lengths[chosen]), price, numpy.arange(row_id, row_id + len(price))))
        row_id += len(price)
    peers = tuple(_peer(vendor + 1, originator=False) for vendor in range(vendors))
    config = Config(
        version=CONFIG_VERSION,
        generation=1,
        taken_at_ms=0,
        next_change_at_ms=None,
        peers=(*peers, *(_customer(at) for at in range(len(ORDERS)))),
        route_classes=(
            RouteClass(
                1,
                "all",
                tuple(
                    RouteEntry(peer.peer_id, peer.peer_id % priorities, True, portion=peer.peer_id % 4 * 25)
                    for peer in peers
                ),
            ),
        ),
        hunting_classes=tuple(HuntingClass(at, order, order) for at, order in enumerate(ORDERS) if order),
        destinations=(),
        decks=(),
    )
    sold = rng.random(len(codes)) < 0.3
    sold |= countries
    customer = Deck(keys_of(codes[sold], lengths[sold]), level_e8[sold], numpy.arange(row_id, row_id + int(sold.sum())))
    texts = [str(code).zfill(length) for code, length in zip(codes.tolist(), lengths.tolist(), strict=True)]
    return Market(config, decks, [peer.pack for peer in peers], customer, texts)


def make_numbers(market: Market, count: int, seed: int = 2) -> list[str]:
    """Numbers under uniformly random codes: the worst case for caches."""
    rng = numpy.random.default_rng(seed)
    tails = rng.integers(10**8, 10**9, count).tolist()
    places = rng.integers(0, len(market.codes), count).tolist()
    return [(market.codes[place] + str(tail))[:12] for place, tail in zip(places, tails, strict=True)]


def make_quality(market: Market, at_ms: int, seed: int = 3) -> dict[str, Quality]:
    """What is known of three vendors in four, and of each of those for five hundred codes."""
    rng = numpy.random.default_rng(seed)
    found: dict[str, Quality] = {}
    for vendor, deck in enumerate(market.vendor_decks, start=1):
        if vendor % 4 == 0:
            continue
        places = rng.choice(len(deck.keys), min(500, len(deck.keys)), replace=False)
        codes = zip(*(part.tolist() for part in split_keys(deck.keys[places])), strict=True)
        texts = [str(code).zfill(length) for code, length in codes]
        for code in ("", *texts):
            attempts = int(rng.integers(20, 400))
            answered = int(attempts * rng.uniform(0.1, 0.7))
            one = Quality(
                side="vendor_code" if code else "vendor", peer_id=vendor, code=code, at_ms=at_ms, window_seconds=900,
                attempts=attempts, answered=answered, effective=answered, effective_of=attempts,
                talk_ms=answered * int(rng.integers(20_000, 300_000)), pdd_ms=attempts * 2_500, pdd_legs=attempts,
            )  # fmt: skip
            found[one.key] = one
    return found


class MarketDecks:
    """The decks of a market, by the numbers of their peers; `versions` tells which have changed."""

    def __init__(self, market: Market, versions: Mapping[int, int] | None = None) -> None:
        self._market = market
        self._versions = versions or {}

    def key(self, deck_id: int, *, allow_free: bool) -> str:
        """Number and version."""
        return f"deck-{deck_id}-{self._versions.get(deck_id, 1)}.{allow_free:d}"

    def deck(self, deck_id: int, *, allow_free: bool) -> Deck:
        """A vendor's deck, or the customer's. No price is free."""
        return self._market.customer_deck if deck_id == CUSTOMER_ID else self._market.vendor_decks[deck_id - 1]


def publish(
    directory: Path,
    market: Market,
    name: str = "g1",
    before: Manifest | None = None,
    versions: Mapping[int, int] | None = None,
) -> Manifest:
    """Build a generation from the decks and make it the newest, as the builder does."""
    manifest = Assembly(directory, MarketDecks(market, versions), EXPECTED_SECONDS, before).run(market.config)
    write_generation(directory, name, market.config, manifest)
    write_pointer(directory, Pointer(name))
    return manifest


def vendor_bytes(directory: Path, manifest: Manifest) -> int:
    """Bytes of the vendors' arrays of a snapshot: what a router maps."""
    files = (manifest.codes, *manifest.matrices, *manifest.bought)
    return sum((directory / ARRAYS / filed.file).stat().st_size for filed in files)


def _codes(rng: numpy.random.Generator, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    countries = numpy.array([1, 7, 20, 27, *range(30, 99), *range(210, 299), *range(350, 390), *range(960, 999)])
    widths = numpy.array([len(str(country)) for country in countries.tolist()])
    of = rng.integers(0, len(countries), count * 2)
    more = rng.choice([1, 2, 3, 4, 5, 6], count * 2, p=[0.01, 0.05, 0.14, 0.3, 0.3, 0.2])
    power = 10**more
    codes = countries[of] * power + (rng.random(count * 2) * power).astype(numpy.int64)
    codes, lengths = sort_codes(numpy.concatenate([countries, codes]), numpy.concatenate([widths, widths[of] + more]))
    keep = numpy.flatnonzero(lengths <= 3)
    others = numpy.setdiff1d(numpy.arange(len(codes)), keep)
    chosen = numpy.sort(numpy.concatenate([keep, rng.choice(others, count - len(keep), replace=False)]))
    return codes[chosen], lengths[chosen]


def _customer(at: int) -> Peer:
    peer = _peer(CUSTOMER_ID + at, originator=True)
    return msgspec.structs.replace(peer, deck_id=CUSTOMER_ID, host=f"127.0.0.{10 + at}/32", hunting_class_id=at)


def _peer(peer_id: int, *, originator: bool) -> Peer:
    name = f"{'c' if originator else 'v'}-{peer_id}"
    return Peer(
        peer_id=peer_id, company_id=peer_id, name=name, originator=originator, enabled=True, endpoint=name,
        host="127.0.0.10/32" if originator else "127.0.0.21/32", tech_prefix="",
        account=Account(peer_id, False, False), pack=PACKS[0 if originator else peer_id % len(PACKS)],
        deck_id=peer_id, route_class_id=1 if originator else 0, max_concurrent=0, max_cps=0, max_call_seconds=14_400,
        profit="no_losses", minimum_margin_e8=0, ring_seconds=60, allow_special=False,
    )  # fmt: skip
