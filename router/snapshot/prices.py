"""From decks to arrays: the prices in force at a moment, a customer's deck, and the matrix of all vendors' costs.

The matrix has a row per distinct code and a column per vendor. A cell holds the vendor's comparable cost for that code,
already inherited from the parent code where the vendor has none of its own, so that a decision reads one row. Beside it
the vendors of each row in order of cost. A blocked code blocks: it is not inherited through.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy
from numpy.typing import NDArray

from router.snapshot.code_index import NO_CODE, build_arrays, places_of, sort_codes
from router.snapshot.comparable import terms_of
from router.snapshot.config import PAR, Pack, Rate

Integers = NDArray[Any]

NO_COST: Final = 1 << 62  # no price; sorts behind every cost
NO_VENDOR: Final = 255  # in the order: from here on no vendor has a price
MOST_VENDORS: Final = 255
NO_RATES: Final[Mapping[str, Rate]] = MappingProxyType({})
NO_ROW: Final = -1
BLOCKED_ROW: Final = -2
_ORDER_ROWS: Final = 20_000  # rows sorted at once, to bound the builder's memory


class SnapshotError(ValueError):
    """A configuration that cannot be made into a snapshot: says what and which rule."""


class Deck(NamedTuple):
    """The prices of a deck in force, in the index's order; price -1: blocked."""

    codes: Integers
    lengths: Integers
    prices_e8: Integers
    price_ids: Integers


def in_force(rows: Integers, now_ms: int, *, allow_free: bool) -> tuple[Deck, int | None]:
    """The prices of a deck (rows of PRICE_COLUMNS) in force at `now_ms`, and when the next one comes into force.

    A free code where the pack allows none is no price: it blocks.
    """
    future = rows[rows[:, 2] > now_ms]
    rows = rows[rows[:, 2] <= now_ms]
    keys = rows[:, 0] * 16 + rows[:, 1]
    rows = rows[numpy.lexsort((rows[:, 2], keys))]
    keys = rows[:, 0] * 16 + rows[:, 1]
    newest = numpy.concatenate([keys[1:] != keys[:-1], [True]]) if len(rows) else numpy.zeros(0, dtype=bool)
    rows = rows[newest]
    codes, lengths = sort_codes(rows[:, 0], rows[:, 1])
    rows = rows[_back(codes, lengths, rows)] if len(rows) else rows
    prices = rows[:, 3] if allow_free else numpy.where(rows[:, 3] == 0, -1, rows[:, 3])
    next_ms = int(future[:, 2].min()) if len(future) else None
    return Deck(codes, lengths, prices, rows[:, 4]), next_ms


def _back(codes: Integers, lengths: Integers, rows: Integers) -> Integers:
    """For each sorted code the row that it came from."""
    back = numpy.empty(len(rows), dtype=numpy.int64)
    back[places_of(rows[:, 0], rows[:, 1], codes, lengths)] = numpy.arange(len(rows))
    return back


def comparable_e8(pack: Pack, price_e8: Any, expected_seconds: int, *, income: bool = False, rate: Rate = PAR) -> Any:
    """The comparable price per minute, in 10⁻⁸, of an int or an array of them: see router/snapshot/comparable.py."""
    terms = terms_of(pack, expected_seconds, rate)
    return terms.income_e8(price_e8) if income else terms.cost_e8(price_e8)


def deck_arrays(deck: Deck) -> dict[str, Integers]:
    """A customer's deck: its index, and price and price id of each code."""
    arrays = build_arrays(deck.codes, deck.lengths, with_first=False)
    # Not narrowed: all customers' decks lie in one array, and have to be of one kind.
    return {**arrays, "prices_e8": deck.prices_e8, "price_ids": deck.price_ids}


def vendor_arrays(
    decks: Sequence[Deck], packs: Sequence[Pack], expected_seconds: int, rates: Mapping[str, Rate] = NO_RATES
) -> dict[str, Integers]:
    """The matrix over the vendors' decks, in their order. Raises SnapshotError above 255 vendors."""
    if len(decks) > MOST_VENDORS:
        raise SnapshotError(f"{len(decks)} terminators: one matrix holds at most {MOST_VENDORS}")
    empty = numpy.zeros(0, dtype=numpy.int64)
    codes, lengths = sort_codes(
        numpy.concatenate([empty, *(deck.codes for deck in decks)]),
        numpy.concatenate([empty, *(deck.lengths for deck in decks)]),
    )
    index = build_arrays(codes, lengths, with_first=True)
    cost = numpy.full((len(codes), len(decks)), NO_COST, dtype=numpy.int64)
    row = numpy.full((len(codes), len(decks)), NO_ROW, dtype=numpy.int32)
    place_of_price: list[Integers] = [empty]
    first_row = 0
    for vendor, (deck, pack) in enumerate(zip(decks, packs, strict=True)):
        places = places_of(deck.codes, deck.lengths, codes, lengths)
        priced = deck.prices_e8 >= 0
        cost[places[priced], vendor] = comparable_e8(
            pack, deck.prices_e8[priced], expected_seconds, rate=rates.get(pack.currency, PAR)
        )
        rows = numpy.arange(first_row, first_row + len(places), dtype=numpy.int32)
        row[places, vendor] = numpy.where(priced, rows, BLOCKED_ROW)
        first_row += len(places)
        place_of_price.append(places)
    for length in sorted(set(lengths.tolist())):  # parents first
        members = numpy.flatnonzero((lengths == length) & (index["parents"] != NO_CODE))
        parents = index["parents"][members]
        inherits = row[members] == NO_ROW
        cost[members] = numpy.where(inherits, cost[parents], cost[members])
        row[members] = numpy.where(inherits, row[parents], row[members])
    return {
        **index,
        "cost": narrow(cost.reshape(-1), none=NO_COST),
        "row": row.reshape(-1),
        "order": _order(cost).reshape(-1),
        "row_price_e8": narrow(numpy.concatenate([empty, *(deck.prices_e8 for deck in decks)])),
        "row_price_id": narrow(numpy.concatenate([empty, *(deck.price_ids for deck in decks)])),
        "row_code": numpy.concatenate(place_of_price).astype(numpy.int32),
    }


def narrow(values: Integers, none: int | None = None) -> Integers:
    """The same values in four bytes each where they fit: prices up to 21.47 a minute, two thousand million ids.

    `none` stands for no value, is above all others, and becomes the largest number that there is room for.
    """
    most = numpy.iinfo(numpy.int32).max
    real = values if none is None else values[values != none]
    if len(real) and (real.max() >= most or real.min() < -most):
        return values
    return numpy.minimum(values, most).astype(numpy.int32)


def _order(cost: Integers) -> Integers:
    order = numpy.empty(cost.shape, dtype=numpy.uint8)
    for start in range(0, len(cost), _ORDER_ROWS):
        block = cost[start : start + _ORDER_ROWS]
        places = numpy.argsort(block, axis=1, kind="stable")
        none = numpy.take_along_axis(block, places, axis=1) >= NO_COST
        order[start : start + _ORDER_ROWS] = numpy.where(none, NO_VENDOR, places)
    return order
