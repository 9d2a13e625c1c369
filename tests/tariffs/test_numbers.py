"""Dialled numbers: normalised by the rule or refused; never repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.numbers import NumberError, caller_number, normalise


@pytest.mark.parametrize(
    ("dialled", "tech_prefix", "number"),
    [
        ("447700900123", "", "447700900123"),
        ("+447700900123", "", "447700900123"), ("00447700900123", "", "447700900123"),
        ("9001447700900123", "9001", "447700900123"), ("900100447700900123", "9001", "447700900123"),
        ("99#447700900123", "99#", "447700900123"), ("*31*+447700900123", "*31*", "447700900123"),
        ("12345678447700900123456", "12345678", "447700900123456"),
        ("112", "", "112"), ("123456789012345", "", "123456789012345"),
    ],
)  # fmt: skip
def test_numbers_by_hand(dialled: str, tech_prefix: str, number: str) -> None:
    assert normalise(dialled, tech_prefix) == number


@pytest.mark.parametrize(
    "dialled",
    [
        "", "12", "0012", "+12", "1234567890123456", "44 7700 900123", "44-77", "447700900123\n", "++4477", "4477#",
        "٤٤٧٧٠٠٩٠٠", "４４７７００９００", "4477&SIP/x", "4477,1", "4477/${EXTEN}", "1_000_000", " 447700", "4e10",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(dialled: str) -> None:
    with pytest.raises(NumberError):
        normalise(dialled)


@pytest.mark.parametrize("dialled", ["99#", "99#44", "99#4477#", "99#99#4477009", "99#++4477", "99#" + "4" * 21])
def test_what_is_no_number_behind_a_tech_prefix_is_refused(dialled: str) -> None:
    with pytest.raises(NumberError):
        normalise(dialled, "99#")


def test_a_missing_tech_prefix_is_refused() -> None:
    with pytest.raises(NumberError, match="tech prefix 9001"):
        normalise("447700900123", "9001")


@given(st.text(max_size=25))
def test_any_text_is_digits_or_refused(dialled: str) -> None:
    try:
        number = normalise(dialled)
    except NumberError:
        return
    assert number.isascii()
    assert number.isdigit()
    assert dialled.endswith(number)
    assert 3 <= len(number) <= 15


@given(st.text(max_size=30))
def test_a_caller_is_digits_or_nothing(caller: str) -> None:
    digits = caller_number(caller)
    assert digits == "" or (digits.isascii() and digits.isdigit() and caller.endswith(digits))
    assert len(digits) <= 20
