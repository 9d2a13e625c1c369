"""From vendors' decks to the matrices of their costs. Pure. A matrix is made anew, or from the one before it.

All matrices have a row for each distinct code of all vendors, and a column for each of their at most 255 vendors. A
cell holds the vendor's comparable cost for that code, already inherited from the parent code where the vendor has none
of its own, and the digits of the vendor's code that it is the cost of; beside it stand the vendors of each row in order
of cost. A blocked code blocks: it is not inherited through.

Where a vendor has a code of its own is kept as bits, with a count before each word of them: how many stand before a
code is the place of its price in the vendor's deck. So prices lie with the deck, and not in the matrix: what changes
with one vendor is its column, the order of the rows, and, if its codes are others, which rows there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy
from numpy.typing import NDArray

from router.snapshot.code_index import NO_CODE, build_arrays, distinct, parents_among, places_among, split_keys
from router.snapshot.config import PAR, Pack, Rate
from router.snapshot.prices import NO_COST, NO_VENDOR, Deck, comparable_e8

Integers = NDArray[Any]

MOST_VENDORS: Final = 255  # of one matrix
WORD_BITS: Final = 64
_NARROW_NONE: Final = 2**31 - 1
_NONE: Final = -1
_ORDER_ROWS: Final = 4_000  # rows sorted at once: they stay in the processor's cache
_ORDER_BITS: Final = 8
_MOST_SORTED: Final = 1 << 54  # a cost from here on has no room beside its vendor in one number


BLOCK_ARRAYS: Final = ("cost", "digits", "order", "words", "ranks")


class Column(NamedTuple):
    """What a vendor's column is made of. The deck is read when it is needed, and no more than one at a time."""

    deck: Callable[[], Deck]
    pack: Pack
    rate: Rate = PAR


class Codes(NamedTuple):
    """The distinct codes of all vendors: their sorted keys, and the arrays of a CodeIndex over them."""

    keys: Integers
    arrays: dict[str, Integers]


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix: cost, digits and order by (code, vendor); words and ranks by (vendor, code // WORD_BITS)."""

    cost: Integers
    digits: Integers
    order: Integers
    words: Integers
    ranks: Integers


class _Made(NamedTuple):
    """A column: cost (NO_COST: none) and digits (0: none) by code, and the codes of the vendor's own."""

    cost: Integers
    digits: Integers
    own: Integers


def make_codes(keys: Sequence[Integers]) -> Codes:
    """The distinct codes of decks, or of other sets of codes, given by their keys."""
    together: Integers = distinct(numpy.concatenate([numpy.zeros(0, dtype=numpy.int64), *keys]))
    return Codes(together, build_arrays(*split_keys(together), with_first=True))


def kept_keys(codes: Codes, block: Block, columns: Sequence[int]) -> Integers:
    """The keys of the codes that at least one of these vendors of a matrix has."""
    bits = _bits(numpy.bitwise_or.reduce(block.words[list(columns)], axis=0, keepdims=True), len(codes.keys))
    kept: Integers = codes.keys[bits[0]]
    return kept


def make_block(codes: Codes, columns: Sequence[Column], expected_seconds: int) -> Block:
    """The matrix of these vendors, from their decks alone."""
    nothing = numpy.zeros((0, 0), dtype=numpy.int32)
    before = Codes(codes.keys[:0], make_codes([]).arrays), Block(nothing, nothing, nothing, nothing, nothing)
    return change_block(codes, before, columns, expected_seconds)


def change_block(
    codes: Codes, before: tuple[Codes, Block], columns: Sequence[int | Column], expected_seconds: int
) -> Block:
    """The matrix of vendors of the one before (by their column there) and of new or changed ones (a Column).

    It is what make_block makes of all their decks. `codes` holds at least the codes of all of them.
    """
    old_codes, old = before
    kept = {at: column for at, column in enumerate(columns) if isinstance(column, int)}
    levels = _levels(codes)
    made = {
        at: _column(codes, levels, column, expected_seconds)
        for at, column in enumerate(columns)
        if isinstance(column, Column)
    }
    same = places_among(codes.keys, old_codes.keys) if kept else numpy.full(len(codes.keys), _NONE)
    source = _sources(codes, same, old_codes) if kept else same
    wide = any(_is_wide(column.cost) for column in made.values()) or (bool(kept) and old.cost.dtype == numpy.int64)
    none = NO_COST if wide else _NARROW_NONE
    cost = _rows(old.cost, source, kept, len(columns), numpy.dtype(numpy.int64 if wide else numpy.int32), none)
    if wide and kept and old.cost.dtype == numpy.int32:
        cost[cost == _NARROW_NONE] = NO_COST
    digits = _rows(old.digits, source, kept, len(columns), numpy.dtype(numpy.uint8), 0)
    stale = source == _NONE
    stay_put = all(at == column for at, column in kept.items())
    in_place = bool(kept) and stay_put and old.cost.shape[1] == len(columns) and len(old.cost) > 0
    for at, column in made.items():
        values = column.cost if wide else numpy.minimum(column.cost, none).astype(numpy.int32)
        if in_place and old.cost.dtype == cost.dtype:
            stale |= cost[:, at] != values
        else:
            stale[:] = True
        cost[:, at] = values
        digits[:, at] = column.digits
    # A row of which no cost has changed keeps its order.
    order = old.order[source] if in_place else numpy.empty(cost.shape, dtype=numpy.uint8)
    _sort(cost, none, order, numpy.flatnonzero(stale) if in_place else numpy.arange(len(cost)))
    words = _words(codes, old_codes, old, same, kept, made, len(columns))
    if wide and not _is_wide(cost):
        cost = numpy.minimum(cost, _NARROW_NONE).astype(numpy.int32)
    return Block(cost, digits, order, words, _ranks(words))


def _levels(codes: Codes) -> list[tuple[Integers, Integers]]:
    """By length, the shortest first: the codes that have a parent, and those parents."""
    lengths, parents = codes.arrays["lengths"], codes.arrays["parents"]
    members = (numpy.flatnonzero((lengths == length) & (parents != NO_CODE)) for length in range(1, 16))
    return [(of_length, parents[of_length]) for of_length in members if len(of_length)]


def _column(codes: Codes, levels: list[tuple[Integers, Integers]], column: Column, expected_seconds: int) -> _Made:
    deck = column.deck()
    own = places_among(deck.keys, codes.keys)
    at = numpy.full(len(codes.keys), _NONE, dtype=numpy.int32)
    at[own] = numpy.arange(len(own), dtype=numpy.int32)
    for members, parents in levels:
        found = at[members]
        at[members] = numpy.where(found == _NONE, at[parents], found)
    # One more at the end, for what has no code: -1 is the last.
    costs = numpy.full(len(own) + 1, NO_COST, dtype=numpy.int64)
    priced = numpy.flatnonzero(deck.prices_e8 >= 0)
    costs[priced] = comparable_e8(column.pack, deck.prices_e8[priced], expected_seconds, rate=column.rate)
    digits = numpy.zeros(len(own) + 1, dtype=numpy.uint8)
    digits[:-1] = codes.arrays["lengths"][own]
    return _Made(costs[at], digits[at], own)


def _sources(codes: Codes, same: Integers, old_codes: Codes) -> Integers:
    """For each code the row of the matrix before that has what vendors who stay pay for it.

    Its own row; or that of the longest code that covers it: vendors who stay have no code that was not there.
    """
    source = same.copy()
    new = numpy.flatnonzero(same == _NONE)
    if len(new):
        source[new] = parents_among(*split_keys(codes.keys[new]), *split_keys(old_codes.keys))
    return source


def _rows(
    old: Integers, source: Integers, kept: dict[int, int], width: int, dtype: numpy.dtype[Any], nothing: int
) -> Integers:
    """The rows of the matrix before, with the columns that stay each at its place; a row that is new is `nothing`."""
    if not kept or not len(old):
        return numpy.full((len(source), width), nothing, dtype=dtype)
    rows = old[source].astype(dtype, copy=False)
    rows[source == _NONE] = nothing
    if old.shape[1] == width and all(at == column for at, column in kept.items()):
        return rows  # what does not stay is as it was, for the caller to replace
    placed = numpy.full((len(source), width), nothing, dtype=dtype)
    placed[:, list(kept)] = rows[:, list(kept.values())]
    return placed


def _is_wide(costs: Integers) -> bool:
    """Whether one of the costs has no room in four bytes: prices from 21.47 a minute on."""
    return bool(((costs >= _NARROW_NONE) & (costs != NO_COST)).any() or (costs < -_NARROW_NONE).any())


def _sort(cost: Integers, none: int, order: Integers, rows: Integers) -> None:
    """Put the vendors of these rows in order of cost, of equal costs the first; who has none is NO_VENDOR, at the end.

    Cost and vendor as one number sort eight times as fast as a stable sort of places.
    """
    vendors = numpy.arange(cost.shape[1], dtype=numpy.int64)
    for start in range(0, len(rows), _ORDER_ROWS):
        part = rows[start : start + _ORDER_ROWS]
        costs = cost[part].astype(numpy.int64)
        real = costs < none
        if none > _MOST_SORTED and (costs[real] >= _MOST_SORTED).any():
            places = numpy.argsort(cost[part], axis=1, kind="stable")
            missing = numpy.take_along_axis(cost[part], places, axis=1) >= none
        else:
            both = (numpy.where(real, costs, _MOST_SORTED) << _ORDER_BITS) | vendors
            both.sort(axis=1)
            places, missing = both & NO_VENDOR, both >= _MOST_SORTED << _ORDER_BITS
        order[part] = numpy.where(missing, NO_VENDOR, places)


def _words(
    codes: Codes, old_codes: Codes, old: Block, same: Integers, kept: dict[int, int], made: dict[int, _Made], width: int
) -> Integers:
    """The bits of the vendors' own codes, in words."""
    bits = numpy.zeros((width, -(-len(codes.keys) // WORD_BITS) * WORD_BITS), dtype=bool)
    stays = numpy.flatnonzero(same != _NONE)
    for at, column in kept.items():
        bits[at, stays] = _bits(old.words[column : column + 1], len(old_codes.keys))[0, same[stays]]
    for at, made_column in made.items():
        bits[at, made_column.own] = True
    return numpy.packbits(bits, axis=1, bitorder="little").view(numpy.uint64)


def _bits(words: Integers, count: int) -> Integers:
    """The first `count` bits of each row of words."""
    return numpy.unpackbits(words.view(numpy.uint8), axis=1, bitorder="little")[:, :count].astype(bool)


def _ranks(words: Integers) -> Integers:
    """For each word of a row how many bits are set before it."""
    counts = numpy.bitwise_count(words).astype(numpy.uint32)
    ranks: Integers = numpy.cumsum(counts, axis=1, dtype=numpy.uint32) - counts
    return ranks
