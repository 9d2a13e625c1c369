"""Money is exact, or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import money

micros = st.integers(-money.MAX_AMOUNT_MICROS, money.MAX_AMOUNT_MICROS)


@given(micros)
def test_micros_survive_the_decimal_at_rest(amount_micros: int) -> None:
    assert money.micros_from_decimal(money.decimal_from_micros(amount_micros)) == amount_micros


@given(st.integers(0, money.MAX_PRICE_E8))
def test_prices_survive_the_decimal_at_rest(price_e8: int) -> None:
    assert money.price_e8_from_decimal(money.decimal_from_price_e8(price_e8)) == price_e8


@pytest.mark.parametrize(
    ("value", "rule"),
    [("0.0000001", "6 decimals"), ("NaN", "finite"), ("Infinity", "finite"), ("1e30", "range"), ("-1e30", "range")],
)
def test_an_amount_that_cannot_be_is_refused(value: str, rule: str) -> None:
    with pytest.raises(money.MoneyError, match=rule):
        money.micros_from_decimal(Decimal(value))


@pytest.mark.parametrize(("value", "rule"), [("-0.01", "negative"), ("0.000000001", "8 decimals"), ("NaN", "finite")])
def test_a_price_that_cannot_be_is_refused(value: str, rule: str) -> None:
    with pytest.raises(money.MoneyError, match=rule):
        money.price_e8_from_decimal(Decimal(value))


def test_a_float_is_no_money() -> None:
    with pytest.raises(money.MoneyError, match="float"):
        money.micros_from_decimal(0.1)  # type: ignore[arg-type]
