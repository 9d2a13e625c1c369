"""Money: integer micro-units in code, exact decimals at rest.

A *micro* is 10⁻⁶ of a currency's unit; amounts are `int` micros. A *unit price* is an `int` of 10⁻⁸ of a currency's
unit per minute (`price_e8`), because wholesale decks quote up to eight decimals. Floats are refused everywhere.
"""

from decimal import Decimal
from typing import Final

MICROS_PER_UNIT: Final = 1_000_000
PRICE_E8_PER_UNIT: Final = 100_000_000
# numeric(18,6) at rest: 12 digits before the point. Whatever is above it is an impossible value, refused at the door.
MAX_AMOUNT_MICROS: Final = 10**18 - 1
MAX_PRICE_E8: Final = 10**13 - 1  # 99,999.99999999 a minute: numeric(18,8) holds it many times over


class MoneyError(ValueError):
    """A value that is no amount of money: says which value and which rule."""


def micros_from_decimal(amount: Decimal) -> int:
    """Exact micros of a decimal amount in units; an amount with more than six decimals is refused, never rounded."""
    return _scaled(amount, MICROS_PER_UNIT, MAX_AMOUNT_MICROS, "amount", 6)


def price_e8_from_decimal(price: Decimal) -> int:
    """Exact 10⁻⁸ units of a price per minute; more than eight decimals, negative or not finite is refused."""
    if price.is_finite() and price < 0:
        raise MoneyError(f"price {price}: a price is never negative")
    return _scaled(price, PRICE_E8_PER_UNIT, MAX_PRICE_E8, "price", 8)


def decimal_from_micros(amount_micros: int) -> Decimal:
    """The decimal at rest, numeric(18,6), of an amount in micros."""
    return Decimal(amount_micros).scaleb(-6)


def decimal_from_price_e8(price_e8: int) -> Decimal:
    """The decimal at rest, numeric(18,8), of a price per minute."""
    return Decimal(price_e8).scaleb(-8)


def _scaled(value: Decimal, scale: int, limit: int, name: str, decimals: int) -> int:
    if not isinstance(value, Decimal):
        raise MoneyError(f"{name} {value!r}: a Decimal is needed, not {type(value).__name__}")
    if not value.is_finite():
        raise MoneyError(f"{name} {value}: not a finite number")
    numerator, denominator = value.as_integer_ratio()
    scaled, rest = divmod(numerator * scale, denominator)
    if rest:
        raise MoneyError(f"{name} {value}: at most {decimals} decimals")
    if abs(scaled) > limit:
        raise MoneyError(f"{name} {value}: out of range")
    return scaled
