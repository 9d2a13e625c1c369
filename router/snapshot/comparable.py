"""What prices of different packs and currencies are compared by: the price per minute of a call of the expected length.

It is what such a call would be billed (tariffs.rating: minimum, increment, connect fee, rounding of the amount), never
less than the exact cost and never more than the exact income, per minute, in the comparable currency. Costs are rounded
up and incomes down: what keeps to here bills no loss at that length.
"""

from typing import Any, Final, NamedTuple

import numpy

from router.snapshot.config import PAR, Pack, Rate
from tariffs.rating import billed_seconds, whole_seconds

_E8_PER_MICRO: Final = 100
_SECONDS_PER_MINUTE: Final = 60
_MOST: Final = (1 << 62) - 1


class Terms(NamedTuple):
    """A pack at the expected length. Amounts are in 10⁻⁸ ÷ 60 of its currency, so that all of it is whole numbers."""

    billed: int  # seconds; 0: such a call is free
    connect_fee: int
    unit: int  # what the pack rounds amounts to
    expected_seconds: int
    rate: Rate

    def cost_e8(self, price_e8: Any) -> Any:
        """The comparable cost of a price per minute, or of an array of them."""
        if not self.billed:
            return price_e8 * 0
        exact = self.connect_fee + self.billed * price_e8
        bill = (2 * exact + self.unit) // (2 * self.unit) * self.unit
        more = numpy.maximum(exact, bill) if isinstance(price_e8, numpy.ndarray) else max(exact, bill)
        return exchanged(-(-more // self.expected_seconds), self.rate, up=True)

    def income_e8(self, price_e8: int) -> int:
        """The comparable income of a price per minute."""
        if not self.billed:
            return 0
        exact = self.connect_fee + self.billed * price_e8
        bill = (2 * exact + self.unit) // (2 * self.unit) * self.unit
        income: int = exchanged(min(exact, bill) // self.expected_seconds, self.rate, up=False)
        return income


def terms_of(pack: Pack, expected_seconds: int, rate: Rate = PAR) -> Terms:
    """The terms of a pack, `rate` being what its currency is in the comparable one."""
    whole = whole_seconds(expected_seconds * 1000, pack.duration_rounding)
    return Terms(
        billed=billed_seconds(whole, pack.minimum_seconds, pack.increment_seconds, pack.free_seconds),
        connect_fee=pack.connect_fee_micros * _E8_PER_MICRO * _SECONDS_PER_MINUTE,
        unit=10 ** (6 - pack.rounding_decimals) * _E8_PER_MICRO * _SECONDS_PER_MINUTE,
        expected_seconds=expected_seconds,
        rate=rate,
    )


def exchanged(value: Any, rate: Rate, *, up: bool) -> Any:
    """A value, or an array of them, in the comparable currency: exact, then rounded up or down, 2⁶² - 1 at most."""
    ours, theirs = rate
    if ours == theirs:
        return value
    if isinstance(value, numpy.ndarray):
        if value.size and int(numpy.abs(value).max()) > _MOST // ours:
            return numpy.array([exchanged(one, rate, up=up) for one in value.tolist()], dtype=numpy.int64)
        return -(-(value * ours) // theirs) if up else value * ours // theirs
    return min(_MOST, -(-(value * ours) // theirs) if up else value * ours // theirs)
