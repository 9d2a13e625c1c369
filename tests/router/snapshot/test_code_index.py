"""Longest-prefix match against the obvious oracle: try every prefix, longest first."""

import numpy
from hypothesis import given
from hypothesis import strategies as st

from router.snapshot.code_index import NO_CODE, CodeIndex, build_arrays, places_of, sort_codes

digits = st.text("0123456789", min_size=1, max_size=15)
near = st.text("012", min_size=1, max_size=6)  # few digits: much nesting


def make_index(codes: set[str], with_first: bool) -> CodeIndex:
    ordered, lengths = sort_codes(
        numpy.array([int(code) for code in codes], dtype=numpy.int64),
        numpy.array([len(code) for code in codes], dtype=numpy.int64),
    )
    arrays = {name: memoryview(array) for name, array in build_arrays(ordered, lengths, with_first=with_first).items()}
    return CodeIndex(**{"first": None, **arrays})


@given(st.sets(digits | near, min_size=1, max_size=60), st.lists(digits | near, max_size=30), st.booleans())
def test_the_longest_code_wins(codes: set[str], numbers: list[str], with_first: bool) -> None:
    index = make_index(codes, with_first)
    for number in [*numbers, *codes, *(code + "7" for code in codes if len(code) < 15)]:
        expected = next((number[:end] for end in range(len(number), 0, -1) if number[:end] in codes), None)
        found = index.find(number)
        assert (None if found == NO_CODE else index.text(found)) == expected


@given(st.sets(near, min_size=1, max_size=40))
def test_a_code_knows_its_parent(codes: set[str]) -> None:
    index = make_index(codes, with_first=False)
    for place in range(len(index.codes)):
        code = index.text(place)
        expected = next((code[:end] for end in range(len(code) - 1, 0, -1) if code[:end] in codes), None)
        parent = index.parents[place]
        assert (None if parent == NO_CODE else index.text(parent)) == expected


@given(st.sets(digits, min_size=1, max_size=40), st.sets(digits, min_size=1, max_size=40))
def test_places_are_found_among_sorted_codes(codes: set[str], wanted: set[str]) -> None:
    ordered, lengths = sort_codes(
        numpy.array([int(code) for code in codes], dtype=numpy.int64),
        numpy.array([len(code) for code in codes], dtype=numpy.int64),
    )
    asked = sorted(wanted)
    places = places_of(
        numpy.array([int(code) for code in asked], dtype=numpy.int64),
        numpy.array([len(code) for code in asked], dtype=numpy.int64),
        ordered,
        lengths,
    )
    for code, place in zip(asked, places.tolist(), strict=True):
        assert (place != NO_CODE) == (code in codes)
        if place != NO_CODE:
            assert str(ordered[place]).zfill(lengths[place]) == code


def test_no_codes_at_all() -> None:
    empty = numpy.array([], dtype=numpy.int64)
    arrays = {name: memoryview(array) for name, array in build_arrays(empty, empty, with_first=True).items()}
    assert CodeIndex(**arrays).find("447700900123") == NO_CODE
