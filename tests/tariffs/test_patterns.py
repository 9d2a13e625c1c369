"""Patterns: as Python's own engine would, where both know the syntax; bounded and linear whatever is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.numbers import Country, NumberError, caller_name, caller_number, international, normalise
from tariffs.patterns import MOST_CHARACTERS, PatternError, apply, compile_pattern

GERMANY = Country("49", "0")
DIGITS = st.text("0123456789", min_size=1, max_size=18)
# Patterns that both engines read alike.
SIMPLE = st.sampled_from(
    ["^0", "^00", "^\\+", "49$", "(1|2)3", "^(\\d{2})(\\d+)$", "[5-9]+", "0*1", "x", "^", "$", "(4)?9", "\\D"]
)


@given(DIGITS, st.lists(SIMPLE, max_size=4))
def test_patterns_do_what_the_usual_engine_does(text: str, patterns: list[str]) -> None:
    expected = text
    for pattern in patterns:
        expected = re.sub(pattern, lambda match: f"[{match[0]}]"[1:-1] + "7", expected, count=1, flags=re.ASCII)
    try:
        assert apply([compile_pattern(pattern, "\\07") for pattern in patterns], text) == expected
    except PatternError:
        assert len(expected) > MOST_CHARACTERS


@given(st.text("0149+*#x", max_size=8), st.text("0149#", max_size=3), st.sampled_from(["", "\\+", "\\*"]))
def test_what_needs_no_engine_does_as_the_engine_does(text: str, digits: str, sign: str) -> None:
    pattern = compile_pattern(f"^{sign}{digits}", "7+")
    assert pattern.beginning is not None
    assert apply([pattern], text) == apply([pattern._replace(beginning=None)], text)


@pytest.mark.parametrize(
    ("patterns", "given_text", "result"),
    [
        ([("^011", "+"), ("^\\+49", "0")], "01149301", "0301"),
        ([("^0", "49"), ("^49", "0")], "0301", "0301"),  # each sees what the one before has made
        ([("(\\d{3})(\\d{2})", "\\2-\\1")], "12345678", "45-123678"),
        ([("^(9)?1", "\\1x")], "123", "x23"),  # a group that has not matched is nothing
        ([("1", "2")], "1111", "2111"),  # once
        ([("a", "\\0\\0")], "cab", "caab"),
        ([], "anything", "anything"),
    ],
)
def test_by_hand(patterns: list[tuple[str, str]], given_text: str, result: str) -> None:
    assert apply([compile_pattern(*pair) for pair in patterns], given_text) == result


@pytest.mark.parametrize(
    ("pattern", "replacement", "rule"),
    [
        ("", "", "1 to 200 printable"), ("x" * 201, "", "1 to 200 printable"), ("ü", "", "printable ASCII"),
        ("a\n", "", "printable ASCII"), ("(", "", "RE2 does not accept it"), ("(?=x)", "", "RE2 does not accept it"),
        ("(a)\\1", "", "RE2 does not accept it"), ("((a{100}){100}){100}", "", "RE2 does not accept it"),
        ("a", "\\1", "the pattern has 0"), ("(a)(b)", "\\3", "the pattern has 2"), ("a", "&", "must be up to 64"),
        ("a", "x" * 65, "must be up to 64"), ("a", "${SHELL(x)}", "must be up to 64"), ("a", "\\", "must be up to 64"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_says_why(pattern: str, replacement: str, rule: str) -> None:
    with pytest.raises(PatternError, match=re.escape(rule)):
        compile_pattern(pattern, replacement)


def test_a_pattern_that_runs_away_elsewhere_does_not_here() -> None:
    """Python's engine needs 2 to the power of 60 steps for it."""
    patterns = [compile_pattern("^(a+)+$", "x")]
    assert apply(patterns, "a" * 60 + "b") == "a" * 60 + "b"


def test_a_text_never_grows_beyond_its_bound() -> None:
    patterns = [compile_pattern(".*", "\\0\\0")] * 32
    with pytest.raises(PatternError, match="more than 64"):
        apply(patterns, "123456789")


@given(st.text(max_size=80), st.lists(SIMPLE, max_size=3))
def test_any_text_through_any_patterns_is_a_number_or_refused(text: str, patterns: list[str]) -> None:
    made = [compile_pattern(pattern, "\\0") for pattern in patterns]
    try:
        number = normalise(text, "", made, GERMANY)
    except NumberError:
        return
    assert re.fullmatch("[0-9]{3,15}", number, re.ASCII)


@given(st.text(max_size=80), st.lists(SIMPLE, max_size=3))
def test_any_caller_is_digits_or_nothing(text: str, patterns: list[str]) -> None:
    made = [compile_pattern(pattern, "\\0") for pattern in patterns]
    assert re.fullmatch("[0-9]{0,20}", caller_number(text, made, GERMANY), re.ASCII)
    assert re.fullmatch("[A-Za-z0-9 .+_-]{0,32}", caller_name(text, made), re.ASCII)


@pytest.mark.parametrize(
    ("number", "country", "result"),
    [
        ("+4930123", GERMANY, "4930123"), ("004930123", GERMANY, "4930123"), ("030123", GERMANY, "4930123"),
        ("4930123", GERMANY, "4930123"), ("30123", GERMANY, "30123"), ("00", GERMANY, ""), ("0", GERMANY, "49"),
        ("612345678", Country("34", ""), "34612345678"), ("0034612345678", Country("34", ""), "34612345678"),
        ("030123", Country(), "030123"),
    ],
)  # fmt: skip
def test_national_to_international(number: str, country: Country, result: str) -> None:
    assert international(number, country) == result


@given(DIGITS, st.sampled_from(["", "77"]), st.sampled_from(["", "+", "00", "0"]), st.booleans())
def test_the_order_is_prefix_patterns_plus_country(digits: str, tech: str, before: str, abroad: bool) -> None:
    """Slow and obvious: each step alone, on the text of the one before."""
    country = GERMANY if abroad else Country()
    text = tech + before + digits
    patterns = [compile_pattern("^\\+?8", "+1"), compile_pattern("55", "")]
    step = text.removeprefix(tech)
    if step[:2] == "+8":
        step = "+1" + step[2:]
    elif step[:1] == "8":
        step = "+1" + step[1:]
    step = step.replace("55", "", 1)
    valid = re.fullmatch(r"\+?[0-9]{1,20}", step, re.ASCII) is not None
    if step[:1] == "+":
        step = step[1:]
    elif step[:2] == "00":
        step = step[2:]
    elif abroad and step[:1] == "0":
        step = "49" + step[1:]
    if valid and 3 <= len(step) <= 15:
        assert normalise(text, tech, patterns, country) == step
    else:
        with pytest.raises(NumberError):
            normalise(text, tech, patterns, country)
