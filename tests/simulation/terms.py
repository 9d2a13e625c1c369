"""What 0007's small functions say of money and seconds, in integers; tariffs/ is not used: it is what is compared."""

from fractions import Fraction
from typing import Final, Protocol

MOST_SECONDS: Final = 1_000_000
_E8_PER_MICRO: Final = 100


class Terms(Protocol):
    """How seconds of a call become money."""

    @property
    def price_e8(self) -> int: ...
    @property
    def fee_micros(self) -> int: ...
    @property
    def minimum_seconds(self) -> int: ...
    @property
    def increment_seconds(self) -> int: ...
    @property
    def decimals(self) -> int: ...


def talk_price(seconds: int, terms: Terms) -> int:
    """Micros of so many billed seconds, rounded half up to the pack's decimals."""
    unit: int = 10 ** (6 - terms.decimals)
    exact = Fraction(terms.fee_micros) + Fraction(seconds * terms.price_e8, 60 * _E8_PER_MICRO)
    return (exact / unit + Fraction(1, 2)).__floor__() * unit


def billed_up(seconds: int, terms: Terms) -> int:
    """At least the minimum, then whole increments."""
    over = max(0, seconds - terms.minimum_seconds)
    return terms.minimum_seconds + -(-over // terms.increment_seconds) * terms.increment_seconds


def paid_seconds(budget_micros: int, terms: Terms) -> int:
    """The most billed seconds that a budget buys; -1 where it does not buy the minimum."""
    unit: int = 10 ** (6 - terms.decimals)
    room = Fraction(budget_micros // unit * unit) + Fraction(unit, 2) - terms.fee_micros
    if budget_micros < 0 or room <= 0:
        return -1
    seconds = MOST_SECONDS
    if terms.price_e8:
        seconds = min(MOST_SECONDS, (room * 60 * _E8_PER_MICRO / terms.price_e8).__ceil__() - 1)
    if seconds < terms.minimum_seconds:
        return -1
    steps = (seconds - terms.minimum_seconds) // terms.increment_seconds
    return terms.minimum_seconds + steps * terms.increment_seconds
