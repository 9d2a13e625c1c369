"""Patterns tried before they are saved: the steps that a call would take, and the same end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core import numbers as of_calls
from router.core.model import Sent
from router.core.trial import Trial, try_translations
from router.snapshot.config import Peer
from router.snapshot.numbers import Numbers
from router.snapshot.rules import NumberRules, Translation
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


def _vendor(tech_prefix: str) -> Peer:
    values = dict.fromkeys(Peer.__struct_fields__[: Peer.__struct_fields__.index("country_code")], 0)
    return Peer(**values | {"peer_id": 7, "tech_prefix": tech_prefix})  # type: ignore[arg-type]


RULE = st.tuples(st.sampled_from(("^", "4", "^49", ".*", "$", "x")), st.sampled_from(("", "+", "0", "abc", "1" * 20)))


@given(
    st.sampled_from(("callee", "caller", "caller_name")),
    st.lists(RULE, max_size=3),
    st.sampled_from(("", "9")),
    st.sampled_from(("", "4", "4930123456", "493012345678901")),
)
def test_what_goes_out_ends_as_a_call_would(field: str, rules: list[tuple[str, str]], prefix: str, given: str) -> None:
    """The call's own function on a call with this text in this field, and good ones in the others."""
    if field == "callee" and len(given) < 3:
        given = "493"
    trial = try_translations("out", field, [compile_pattern(*rule) for rule in rules], given, prefix)  # type: ignore[arg-type]
    numbers = Numbers(NumberRules(tuple(Translation(7, field, *rule) for rule in rules)), {})  # type: ignore[arg-type]
    plain = Sent(**{"callee": "4930", "caller": "4930", "caller_name": "", field: given})
    found = of_calls._translated(numbers, _vendor(prefix), plain)
    if isinstance(found, Sent):
        sent = (prefix if field == "callee" else "") + getattr(found, field)
        assert trial.result == sent
        assert trial.consequence == ("" if sent else "NONE")
        if sent and field != "caller_name":
            assert trial.steps[-1].after == sent if trial.steps else given == sent
    else:
        assert (trial.result, trial.consequence) == ("", "BAD TRANSLATION")


@pytest.mark.parametrize(
    ("direction", "field", "given", "consequence"),
    [
        ("in", "callee", "12", "BAD NUMBER"), ("in", "callee", "1" * 65, "BAD NUMBER"), ("in", "callee", "4930", ""),
        ("in", "caller", "x", "NONE"), ("in", "caller", "1" * 65, "NONE"), ("in", "caller_name", "ü", "NONE"),
        ("out", "caller", "1" * 65, "BAD TRANSLATION"), ("out", "caller_name", '"', "NONE"),
        ("out", "caller", "", "NONE"), ("out", "callee", "", "BAD TRANSLATION"),
    ],
)  # fmt: skip
def test_what_an_end_is_for_a_call(direction: str, field: str, given: str, consequence: str) -> None:
    trial: Trial = try_translations(direction, field, [compile_pattern("^!", "")], given)  # type: ignore[arg-type]
    assert trial.consequence == consequence


def test_the_tech_prefix_of_a_terminator_is_a_step() -> None:
    trial = try_translations("out", "callee", [compile_pattern("^49", "0")], "4930", "9")
    assert [(one.step, one.after) for one in trial.steps] == [("^49 → 0", "030"), ("tech prefix 9 before it", "9030")]
    plus = try_translations("out", "callee", [compile_pattern("^", "+")], "4930", "9")
    assert (plus.consequence, plus.refused) == (
        "BAD TRANSLATION",
        "callee '+4930': must have no plus behind the tech prefix 9",
    )
