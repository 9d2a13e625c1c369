"""THE rating function: one for the estimate at routing, the running cost of a live call, and the bill.

Rule (billing notation `minimum/increment/free`, definitions of the data dictionary): not answered → 0; whole seconds
first (up, nearest or none); free > 0 and seconds ≤ free → 0; else max(minimum, seconds) rounded up to the increment
after it, also at 0 ms; amount = connect fee + seconds × price ÷ 60, rounded once per leg, half up, to the pack's
decimals. Free seconds forgive short calls; they are not taken off long ones. Exact integers throughout.
"""

from typing import Final, NamedTuple

from schemas.facts import DurationRounding, Facts

_SECONDS_PER_MINUTE: Final = 60
_E8_PER_MICRO: Final = 100


class Bill(NamedTuple):
    """What one leg costs: billed seconds after the notation, amount in micros of the pack's currency."""

    billed_seconds: int
    amount_micros: int


NOTHING: Final = Bill(0, 0)


def rate(facts: Facts, duration_ms: int, answered: bool) -> Bill:
    """The bill of one leg of `duration_ms` milliseconds under the terms in `facts`."""
    if not answered:
        return NOTHING
    whole = whole_seconds(duration_ms, facts.duration_rounding)
    if _is_free(whole, facts.free_seconds):
        return NOTHING
    seconds = billed_seconds(whole, facts.minimum_seconds, facts.increment_seconds, facts.free_seconds)
    return Bill(seconds, _amount_micros(facts, seconds))


def whole_seconds(duration_ms: int, rounding: DurationRounding) -> int:
    """Whole seconds of a duration: up (the default), nearest (half up), or none (cut off)."""
    if duration_ms < 0:
        raise ValueError(f"duration_ms {duration_ms}: must not be negative")
    extra_ms = {"up": 999, "nearest": 500, "none": 0}[rounding]
    return (duration_ms + extra_ms) // 1000


def billed_seconds(seconds: int, minimum_seconds: int, increment_seconds: int, free_seconds: int) -> int:
    """Seconds to bill for an answered call of whole `seconds` under `minimum/increment/free`; increment ≥ 1."""
    if _is_free(seconds, free_seconds):
        return 0
    if seconds <= minimum_seconds:
        return minimum_seconds
    steps = -(-(seconds - minimum_seconds) // increment_seconds)
    return minimum_seconds + steps * increment_seconds


def _is_free(seconds: int, free_seconds: int) -> bool:
    return free_seconds > 0 and seconds <= free_seconds


def affordable_seconds(facts: Facts, budget_micros: int, most_seconds: int) -> int:
    """The longest call, in whole seconds up to `most_seconds`, whose bill stays within the budget; 0 if none does.

    The bill never falls as a call grows, so a bisection over seconds is exact for any notation and rounding.
    """
    if budget_micros < 0 or rate(facts, max(1, facts.free_seconds + 1) * 1000, True).amount_micros > budget_micros:
        # The shortest billed call is already too much; seconds that are forgiven are no reason to admit it.
        return 0
    if rate(facts, most_seconds * 1000, True).amount_micros <= budget_micros:  # as a rule, and no search is needed
        return most_seconds
    low, high = 1, most_seconds
    while low < high:
        middle = (low + high + 1) // 2
        if rate(facts, middle * 1000, True).amount_micros <= budget_micros:
            low = middle
        else:
            high = middle - 1
    return min(low, most_seconds)


def _amount_micros(facts: Facts, seconds: int) -> int:
    # Everything over the common denominator 60 × 10⁸, rounded half up to 10^-decimals, in one division.
    numerator = facts.connect_fee_micros * _E8_PER_MICRO * _SECONDS_PER_MINUTE + seconds * facts.price_e8
    unit: int = 10 ** (6 - facts.rounding_decimals)
    denominator = _SECONDS_PER_MINUTE * _E8_PER_MICRO * unit
    return (2 * numerator + denominator) // (2 * denominator) * unit
