"""A deck's prices: those in force at a moment, as arrays, and what a price costs in comparison. Pure."""

from typing import Any, Final, NamedTuple

import numpy
from numpy.typing import NDArray

from router.snapshot.code_index import build_arrays, distinct, keys_of, split_keys
from router.snapshot.comparable import terms_of
from router.snapshot.config import PAR, Pack, Rate

Integers = NDArray[Any]

NO_COST: Final = 1 << 62  # no price; sorts behind every cost
NO_VENDOR: Final = 255  # in the order: from here on no vendor has a price


class RawDeck(NamedTuple):
    """All prices of a deck, past and future, by code and then by moment; -1: blocked."""

    keys: Integers  # of the codes, see code_index.keys_of
    effective_ms: Integers
    prices_e8: Integers
    price_ids: Integers
    moments_ms: Integers  # the distinct ones


class Deck(NamedTuple):
    """The prices of a deck in force, by code; -1: blocked."""

    keys: Integers
    prices_e8: Integers
    price_ids: Integers


def raw_deck(
    codes: Integers, lengths: Integers, effective_ms: Integers, prices_e8: Integers, price_ids: Integers
) -> RawDeck:
    """A deck from its rows, in whatever order they come."""
    keys = keys_of(codes, lengths)
    moments = distinct(effective_ms)
    if (keys[1:] > keys[:-1]).all():
        return RawDeck(keys, effective_ms, prices_e8, price_ids, moments)
    places = numpy.lexsort((effective_ms, keys)) if len(moments) > 1 else numpy.argsort(keys)
    return RawDeck(keys[places], effective_ms[places], prices_e8[places], price_ids[places], moments)


def in_force(raw: RawDeck, now_ms: int, *, allow_free: bool) -> Deck:
    """The prices in force at `now_ms`. A free code where the pack allows none is no price: it blocks."""
    keys, prices, price_ids = raw.keys, raw.prices_e8, raw.price_ids
    if len(raw.moments_ms) > 1 or next_ms(raw.moments_ms, now_ms) is not None:
        begun = numpy.flatnonzero(raw.effective_ms <= now_ms)
        keys = keys[begun]
        newest = numpy.concatenate([keys[1:] != keys[:-1], [True]]) if len(keys) else numpy.zeros(0, dtype=bool)
        keys, begun = keys[newest], begun[newest]
        prices, price_ids = prices[begun], price_ids[begun]
    if not allow_free:
        prices = numpy.where(prices == 0, -1, prices)
    return Deck(keys, prices, price_ids)


def begun_ms(moments_ms: Integers, now_ms: int) -> int:
    """The last of a deck's moments up to `now_ms`, which tells what of it is in force; 0: none."""
    begun = moments_ms[moments_ms <= now_ms]
    return int(begun[-1]) if len(begun) else 0


def next_ms(moments_ms: Integers, now_ms: int) -> int | None:
    """The first of a deck's moments that is still to come."""
    future = moments_ms[moments_ms > now_ms]
    return int(future[0]) if len(future) else None


def comparable_e8(pack: Pack, price_e8: Any, expected_seconds: int, *, income: bool = False, rate: Rate = PAR) -> Any:
    """The comparable price per minute, in 10⁻⁸, of an int or an array of them: see comparable.py."""
    terms = terms_of(pack, expected_seconds, rate)
    return terms.income_e8(price_e8) if income else terms.cost_e8(price_e8)


def deck_arrays(deck: Deck) -> dict[str, Integers]:
    """A customer's deck: its index, and price and price id of each code."""
    return {**build_arrays(*split_keys(deck.keys), with_first=False), **price_arrays(deck)}


def price_arrays(deck: Deck) -> dict[str, Integers]:
    """A vendor's deck: price and price id of each code; which code it is the matrix tells."""
    return {"prices_e8": narrow(deck.prices_e8), "price_ids": narrow(deck.price_ids)}


def narrow(values: Integers) -> Integers:
    """The same values in four bytes each where they fit: prices up to 21.47 a minute, two thousand million ids."""
    limits = numpy.iinfo(numpy.int32)
    fits = not len(values) or (values.max() <= limits.max and values.min() >= limits.min)
    return values.astype(numpy.int32) if fits else values
