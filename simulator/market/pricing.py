"""Made-up decks by rule, pure: what a minute costs on the market, and how vendors and customers price around it.

Levels are orders of magnitude as the wholesale market knows them, varied per country and per range by a seed. All
arithmetic is in integers: prices in 10⁻⁸ of the currency's unit per minute, quoted in steps of 10⁻⁶.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from billing.prices.deck_file import ALWAYS
from configuration.entities.countries import TEST_RANGE, Destination

# 10⁻⁴ of a dollar per minute by the beginning of the code: (fixed, mobile). The longest beginning counts.
_LEVELS: Final[dict[str, tuple[int, int]]] = {
    "1": (900, 1_400), "7": (300, 550), "77": (700, 1_100), "2": (1_300, 2_600), "20": (900, 1_100),
    "27": (250, 800), "234": (600, 1_200), "3": (140, 300), "355": (900, 2_200), "375": (1_400, 2_900),
    "38": (900, 2_400), "4": (130, 260), "5": (500, 900), "52": (60, 60), "53": (6_500, 6_900), "54": (90, 700),
    "55": (110, 280), "57": (180, 260), "6": (700, 900), "61": (110, 300), "65": (60, 90), "66": (250, 250),
    "67": (4_500, 5_000), "68": (5_500, 5_900), "69": (4_500, 4_800), "8": (500, 700), "81": (300, 900),
    "82": (150, 350), "86": (150, 180), "852": (200, 250), "870": (48_000, 48_000), "881": (62_000, 62_000),
    "878": (9_000, 9_000), "88": (1_500, 1_800), "882": (15_000, 15_000), "883": (12_000, 12_000),
    "9": (1_000, 1_500), "90": (280, 1_200), "91": (130, 130), "93": (2_200, 2_400), "979": (30_000, 30_000),
}  # fmt: skip
_NORTH_AMERICA: Final = {"US": 32, "CA": 40, "PR": 60, "VI": 90, "GU": 120}
_E8_PER_LEVEL: Final = 10_000
_QUOTED_STEP_E8: Final = 100
_SPLIT_SHARE: Final = 3  # of three codes that could be split, so many digits deeper at most

# Moments at which prices begin: in force long since (ALWAYS), changed later, and announced for a day to come.
CHANGED: Final = "2025-04-01 00:00:00+00"
ANNOUNCED: Final = "2035-01-01 00:00:00+00"


class Price(NamedTuple):
    """One row of a deck. `price_e8` None: blocked. `effective_from` is what PostgreSQL reads as timestamptz."""

    code: str
    price_e8: int | None
    effective_from: str = ALWAYS


def seeded(*parts: object) -> random.Random:
    """A stream of choices that these parts name."""
    return random.Random("/".join(map(str, parts)))


def market_price_e8(seed: int, destination: Destination) -> int:
    """What a minute to a destination costs on the market of this seed."""
    beginning = next(code for length in range(4, 0, -1) if (code := destination.code[:length]) in _LEVELS)
    level = _LEVELS[beginning][destination.kind == "mobile"]
    if destination.code.startswith("1"):
        level = _NORTH_AMERICA.get(destination.country, level)
    if destination.kind == "premium":
        level = max(level * 5, 4_000)
    country = seeded(seed, "country", destination.country).randrange(70, 146)
    place = seeded(seed, "destination", destination.code).randrange(85, 121)
    return quoted(level * _E8_PER_LEVEL * country * place // 10_000)


def quoted(price_e8: int) -> int:
    """A price as a deck quotes it: never zero, in steps of 10⁻⁶."""
    return max(1, price_e8 // _QUOTED_STEP_E8) * _QUOTED_STEP_E8


def vendor_deck(
    rng: random.Random, market: dict[Destination, int], codes: int, percent: tuple[int, int], coverage_percent: int
) -> Iterator[Price]:
    """About `codes` codes of a vendor that sells at `percent` (from, to) of the market.

    The vendor covers `coverage_percent` of the countries, and splits ranges deeper until it has its codes.
    """
    countries = sorted({destination.country for destination in market})
    covered = {country for country in countries if rng.randrange(100) < coverage_percent} | {"US", "GB", "DE", "MX"}
    prices = {
        destination.code: quoted(price_e8 * rng.randrange(*percent) // 100)
        for destination, price_e8 in market.items()
        if destination.country in covered and destination.kind != "premium" and destination.code != TEST_RANGE
    }
    for code in split_codes(rng, sorted(prices), codes):
        prices[code] = quoted(prices[code[:-1]] * rng.randrange(90, 116) // 100)
    return _dated(rng, prices, 3)


def split_codes(rng: random.Random, codes: Sequence[str], wanted: int) -> Iterator[str]:
    """Codes one digit longer than codes that are there, or than what was yielded before, until there are `wanted`."""
    have = set(codes)
    level = list(codes)
    while len(have) < wanted and level:
        deeper: list[str] = []
        for code in level:
            if len(code) > 8 or rng.randrange(10) < _SPLIT_SHARE:
                continue
            for digit in rng.sample("0123456789", rng.randrange(3, 9)):
                if len(have) >= wanted:
                    return
                longer = code + digit
                if longer not in have:
                    have.add(longer)
                    deeper.append(longer)
                    yield longer
        level = deeper


def customer_deck(rng: random.Random, market: dict[Destination, int], percent: tuple[int, int]) -> Iterator[Price]:
    """The A–Z of a customer who buys at `percent` (from, to) of the market; premium ranges are blocked."""
    prices: dict[str, int | None] = {}
    for destination, price_e8 in market.items():
        if destination.code == TEST_RANGE or rng.randrange(100) < 2:
            continue
        blocked = destination.kind == "premium"
        prices[destination.code] = None if blocked else quoted(price_e8 * rng.randrange(*percent) // 100)
    return _dated(rng, prices, 2)


def _dated(rng: random.Random, prices: Mapping[str, int | None], changed_percent: int) -> Iterator[Price]:
    """Rows by code; some with a later price, some with one to come, a few blocked since."""
    for code in sorted(prices):
        price_e8 = prices[code]
        yield Price(code, price_e8)
        if price_e8 is None or rng.randrange(100) >= changed_percent:
            continue
        turn = rng.randrange(10)
        moment = ANNOUNCED if turn < 5 else CHANGED
        yield Price(code, None if turn == 9 else quoted(price_e8 * rng.randrange(92, 112) // 100), moment)
