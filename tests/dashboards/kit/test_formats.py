"""How values are written: whole-number arithmetic against Decimal, and what is not known."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.kit import formats
from dashboards.kit.formats import THIN, UNKNOWN


@given(st.integers(-(10**15), 10**15), st.integers(0, 6))
def test_money_is_rounded_as_decimal_rounds(micros: int, decimals: int) -> None:
    exact = (Decimal(micros) / 10**6).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = formats.money(micros, "", decimals)
    assert Decimal(text.replace(",", "").replace("−", "-")) == exact
    assert text.startswith("−") == (exact < 0)


def test_money() -> None:
    assert formats.money(1_234_567_890_000, "USD") == f"1,234,567.89{THIN}USD"
    assert formats.money(-5_000) == "−0.01"
    assert formats.money(-4_999) == "0.00"
    assert formats.money(None, "USD") == UNKNOWN
    assert formats.money(2_500_000, decimals=0) == "3"


@given(st.integers(0, 10**13))
def test_a_price_keeps_all_its_digits(price_e8: int) -> None:
    text = formats.price(price_e8)
    assert Decimal(text) == Decimal(price_e8) / 10**8
    assert len(text.split(".")[1]) >= 6


def test_price() -> None:
    assert formats.price(2_000_000) == "0.020000"
    assert formats.price(1_234_567) == "0.01234567"
    assert formats.price(-50_000_000) == "−0.500000"
    assert formats.price(0) == "0.000000"
    assert formats.price(None) == UNKNOWN


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_ratio_is_rounded_as_decimal_rounds(part: int, whole: int) -> None:
    exact = (Decimal(100 * part) / whole).quantize(Decimal("0.1"), ROUND_HALF_UP)
    assert formats.ratio(part, whole) == f"{exact}{THIN}%"
    assert formats.percent(part, whole) == pytest.approx(float(exact))


def test_nothing_to_divide_by() -> None:
    assert formats.ratio(0, 0) == UNKNOWN
    assert formats.percent(1, 0) is None
    assert formats.per_second(5, 0) == UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, UNKNOWN), (0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3_599, "59:59"), (90_061, "25:01:01")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_small_things() -> None:
    assert formats.count(1_204) == "1,204"
    assert formats.count(None) == UNKNOWN
    assert formats.seconds(2_149) == f"2.1{THIN}s"
    assert formats.seconds(None) == UNKNOWN
    assert formats.per_second(42, 10) == "4.2"


def test_change_says_which_way_and_never_minus_nothing() -> None:
    assert formats.change(40.04, 38.0) == f"▲{THIN}2.0"
    assert formats.change(38.0, 40.0, unit=" pts") == f"▼{THIN}2.0 pts"
    assert formats.change(38.04, 38.0) == "unchanged"
    assert formats.change(None, 1.0) == formats.change(1.0, None) == "no comparison yet"


def test_an_age_is_short_however_long_it_is() -> None:
    ages = [formats.age(seconds).replace(formats.THIN, " ") for seconds in (-5, 61.9, 3_599, 3_600, 172_799, 172_800)]
    assert ages == ["0:00", "1:01", "59:59", "1 h 00 min", "47 h 59 min", "2 d 0 h"]
