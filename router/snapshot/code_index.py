"""Longest-prefix match by one bisect: nested codes flattened into disjoint ranges of 15-digit numbers.

A code covers the numbers that begin with it, padded to 15 digits. Ranges nest; flattened, every number lies in exactly
one range, which belongs to the longest code that covers it. Padding also matches codes that are longer than a short
number: the match then climbs to the parent. Built with numpy, read without it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy
from numpy.typing import NDArray

NO_CODE: Final = -1
_WIDTH: Final = 15
_FIRST: Final = 5  # digits of the first-level index
_FIRST_SPAN: Final = 10 ** (_WIDTH - _FIRST)
_LENGTHS: Final = 16  # more than any code has digits
_POWERS: Final = 10 ** numpy.arange(_WIDTH + 1, dtype=numpy.int64)

Integers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class CodeIndex:
    """`codes[i]`, `lengths[i]`, `parents[i]` of code i; `starts`, `owners` of the ranges; `first` speeds it."""

    codes: Sequence[int]
    lengths: Sequence[int]
    parents: Sequence[int]
    starts: Sequence[int]
    owners: Sequence[int]
    first: Sequence[int] | None

    def find(self, number: str) -> int:
        """The index of the longest code that `number` (ASCII digits, at most 15) begins with, or NO_CODE."""
        padded = int(number.ljust(_WIDTH, "0"))
        if self.first is None:
            place = bisect_right(self.starts, padded) - 1
        else:
            head = padded // _FIRST_SPAN
            place = bisect_right(self.starts, padded, self.first[head], self.first[head + 1]) - 1
        code = self.owners[place]
        digits = len(number)
        while code != NO_CODE and self.lengths[code] > digits:
            code = self.parents[code]
        return code

    def marks(self, code: int) -> dict[int, int]:
        """Code `code` and those that cover it, by their number of digits."""
        found: dict[int, int] = {}
        while code != NO_CODE:
            found[self.lengths[code]] = code
            code = self.parents[code]
        return found

    def text(self, code: int) -> str:
        """The digits of code `code`, leading zeros included."""
        digits = str(self.codes[code])
        length = self.lengths[code]
        return digits if len(digits) == length else digits.zfill(length)


def sort_codes(codes: Integers, lengths: Integers) -> tuple[Integers, Integers]:
    """Distinct codes in the index's order: by the number that they begin at, parents before children."""
    return split_keys(distinct(keys_of(codes, lengths)))


def keys_of(codes: Integers, lengths: Integers) -> Integers:
    """One number for code and length, ascending in the index's order."""
    keys: Integers = codes * _POWERS[_WIDTH - lengths] * _LENGTHS + lengths
    return keys


def split_keys(keys: Integers) -> tuple[Integers, Integers]:
    """The codes and lengths of such numbers."""
    lengths = keys % _LENGTHS
    return keys // _LENGTHS // _POWERS[_WIDTH - lengths], lengths


def distinct(values: Integers) -> Integers:
    """The distinct values, ascending. (numpy.unique looks them up in a table: ten times slower on ten million.)"""
    values = numpy.sort(values)
    return values[numpy.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values


def places_of(codes: Integers, lengths: Integers, in_codes: Integers, in_lengths: Integers) -> Integers:
    """Where each (code, length) stands among `in_codes`, which are in the index's order; NO_CODE where it does not."""
    return places_among(keys_of(codes, lengths), keys_of(in_codes, in_lengths))


def places_among(wanted: Integers, keys: Integers) -> Integers:
    """Where each key stands among sorted ones; NO_CODE where it does not."""
    if not len(keys):
        return numpy.full(len(wanted), NO_CODE, dtype=numpy.int64)
    found = numpy.minimum(numpy.searchsorted(keys, wanted), len(keys) - 1)
    return numpy.where(keys[found] == wanted, found, NO_CODE)


def build_arrays(codes: Integers, lengths: Integers, *, with_first: bool) -> dict[str, Integers]:
    """The arrays of a CodeIndex over sorted, distinct codes (see sort_codes)."""
    lengths = lengths.astype(numpy.int64)
    lows = codes * _POWERS[_WIDTH - lengths]
    highs = (codes + 1) * _POWERS[_WIDTH - lengths]
    starts = distinct(numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), lows, highs[highs < _POWERS[_WIDTH]]]))
    owners = _longest(starts, codes, lengths, numpy.full(len(starts), _WIDTH + 1))
    changes = numpy.concatenate([[True], owners[1:] != owners[:-1]])
    starts, owners = starts[changes], owners[changes]
    arrays = {
        "codes": codes.astype(numpy.int64),
        "lengths": lengths.astype(numpy.uint8),
        "parents": _longest(lows, codes, lengths, lengths).astype(numpy.int32),
        "starts": starts.astype(numpy.int64),
        "owners": owners.astype(numpy.int32),
    }
    if with_first:
        heads = numpy.arange(10**_FIRST + 1, dtype=numpy.int64) * _FIRST_SPAN
        arrays["first"] = numpy.searchsorted(starts, heads).astype(numpy.int32)
    return arrays


def parents_among(codes: Integers, lengths: Integers, in_codes: Integers, in_lengths: Integers) -> Integers:
    """For each code the longest shorter one among `in_codes` (in the index's order) that covers it, or NO_CODE."""
    return _longest(codes * _POWERS[_WIDTH - lengths], in_codes, in_lengths, lengths)


def _longest(points: Integers, codes: Integers, lengths: Integers, below: Integers) -> Integers:
    """For each 15-digit point the longest code shorter than `below` digits that covers it, or NO_CODE."""
    found = numpy.full(len(points), NO_CODE, dtype=numpy.int64)
    for length in sorted(set(lengths.tolist())):  # ascending, so that longer ones overwrite
        members = numpy.flatnonzero(lengths == length)
        of_length = codes[members]
        asked = numpy.flatnonzero(below > length)
        heads = points[asked] // _POWERS[_WIDTH - length]
        near = numpy.minimum(numpy.searchsorted(of_length, heads), len(members) - 1)
        hit = of_length[near] == heads
        found[asked[hit]] = members[near[hit]]
    return found
