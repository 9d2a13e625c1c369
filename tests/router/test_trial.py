"""Patterns tried before they are saved: the steps that a call would take, and the same end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing.trial import try_translations
from tariffs.numbers import Country, NumberError, normalise
from tariffs.patterns import compile_pattern

GERMANY = Country("49", "0")
PATTERNS = [compile_pattern("^\\*31#", ""), compile_pattern("^011", "+")]


def test_the_steps_by_hand() -> None:
    trial = try_translations("in", "callee", PATTERNS, "77*31#030123", "77", GERMANY)
    assert [(one.step, one.before, one.after) for one in trial.steps] == [
        ("tech prefix 77", "77*31#030123", "*31#030123"), ("^\\*31# → ", "*31#030123", "030123"),
        ("^011 → +", "030123", "030123"), ("international", "030123", "4930123"),
    ]  # fmt: skip
    assert (trial.result, trial.refused) == ("4930123", "")


@pytest.mark.parametrize(
    ("direction", "field", "pattern", "replacement", "number", "result", "refused"),
    [
        ("in", "callee", "x", "", "12", "", "2 digits after its prefixes"),
        ("in", "callee", "1", "a", "123", "", "must be digits"),
        ("out", "callee", "^", "+", "4930", "+4930", ""), ("out", "callee", "^", "a", "4930", "", "must be up to 20"),
        ("in", "caller", "^", "x", "4930", "", "as if there were none"), ("in", "caller", "^0", "", "030", "30", ""),
        ("in", "caller_name", "^", "Dr. ", "Anna", "Dr. Anna", ""),
        ("in", "caller_name", "x", "", 'a"b', "", "as if there were none"),
        ("out", "caller", "^49", "0", "4930", "030", ""),
    ],
)  # fmt: skip
def test_ends_by_hand(
    direction: str, field: str, pattern: str, replacement: str, number: str, result: str, refused: str
) -> None:
    trial = try_translations(direction, field, [compile_pattern(pattern, replacement)], number)  # type: ignore[arg-type]
    assert trial.result == result
    assert refused in trial.refused
    assert bool(trial.refused) == bool(refused)


@given(st.text("0123456789+*#31 x", max_size=22))
def test_it_ends_as_a_call_would(number: str) -> None:
    trial = try_translations("in", "callee", PATTERNS, number, "", GERMANY)
    try:
        expected, refused = normalise(number, "", PATTERNS, GERMANY), ""
    except NumberError as error:
        expected, refused = "", str(error)
    assert (trial.result, trial.refused) == (expected, refused)
    if expected:
        assert re.fullmatch("[0-9]{3,15}", expected)
        assert trial.steps[-1].after == expected
