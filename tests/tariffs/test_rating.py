"""THE rating function against a slow, obvious oracle in fractions, and against bills worked out by hand."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.facts import DurationRounding, Facts
from tariffs.rating import Bill, affordable_seconds, billed_seconds, rate, whole_seconds


def terms(
    price_e8: int = 6_000_000,
    notation: tuple[int, int, int] = (1, 1, 0),
    connect_fee_micros: int = 0,
    rounding_decimals: int = 6,
    duration_rounding: DurationRounding = "up",
) -> Facts:
    return Facts(
        side="payable", generation=1, customer_company_id=1, customer_peer_id=1, vendor_company_id=1, vendor_peer_id=1,
        account_id=1001, currency="USD", code="44", price_id=1, destination_id=1, price_e8=price_e8,
        connect_fee_micros=connect_fee_micros, minimum_seconds=notation[0], increment_seconds=notation[1],
        free_seconds=notation[2], rounding_decimals=rounding_decimals, duration_rounding=duration_rounding,
        caller="", callee="441234567",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "notation", "billed"),
    [
        (1, (1, 1, 0), 1), (29, (30, 6, 0), 30), (30, (30, 6, 0), 30), (31, (30, 6, 0), 36), (36, (30, 6, 0), 36),
        (37, (30, 6, 0), 42), (1, (60, 60, 0), 60), (61, (60, 60, 0), 120), (5, (1, 1, 5), 0), (6, (1, 1, 5), 6),
        (5, (30, 6, 5), 0), (6, (30, 6, 5), 30), (0, (30, 6, 0), 30), (0, (30, 6, 5), 0), (0, (0, 6, 0), 0),
        (61, (0, 60, 0), 120),
    ],
)  # fmt: skip
def test_the_notation_by_hand(seconds: int, notation: tuple[int, int, int], billed: int) -> None:
    assert billed_seconds(seconds, *notation) == billed


@pytest.mark.parametrize(
    ("duration_ms", "rounding", "seconds"),
    [(1, "up", 1), (200, "up", 1), (1000, "up", 1), (1001, "up", 2), (1499, "nearest", 1), (1500, "nearest", 2),
     (499, "nearest", 0), (1999, "none", 1), (0, "up", 0)],
)  # fmt: skip
def test_whole_seconds_by_hand(duration_ms: int, rounding: DurationRounding, seconds: int) -> None:
    assert whole_seconds(duration_ms, rounding) == seconds


@pytest.mark.parametrize(
    ("duration_ms", "up", "nearest", "none"),
    [(29_499, 30, 29, 29), (29_999, 30, 30, 29), (30_000, 30, 30, 30), (30_001, 31, 30, 30), (30_500, 31, 31, 30)],
)
def test_a_millisecond_beside_a_whole_second(duration_ms: int, up: int, nearest: int, none: int) -> None:
    """0.06 a minute is 0.001 a second. By 30/6 a second that has begun behind the minimum is six to be paid."""
    seconds: dict[DurationRounding, int] = {"up": up, "nearest": nearest, "none": none}
    for rounding, billed in seconds.items():
        assert rate(terms(duration_rounding=rounding), duration_ms, True) == Bill(billed, billed * 1_000)
        by_six = 36 if billed > 30 else 30
        assert rate(terms(notation=(30, 6, 0), duration_rounding=rounding), duration_ms, True) == Bill(
            by_six, by_six * 1_000
        )


def test_bills_by_hand() -> None:
    # 38 s at 0.01525 a minute: 0.009658333… → 0.009658
    assert rate(terms(1_525_000), 37_100, True) == Bill(38, 9_658)
    # 90 s at 0.06 = 0.09, and a connect fee of 0.001
    assert rate(terms(connect_fee_micros=1_000), 90_000, True) == Bill(90, 91_000)
    # half up: 1 s at 0.00003 a minute is 0.0000005 → 0.000001
    assert rate(terms(3_000), 1_000, True) == Bill(1, 1)
    # four decimals: 7 s at 0.06 = 0.007 → 0.0070; 1 s at 0.06 = 0.001; 1 s at 0.0629 = 0.00104833 → 0.0010
    assert rate(terms(6_290_000, rounding_decimals=4), 1_000, True) == Bill(1, 1_000)


def test_an_answered_call_of_no_length_is_billed_by_its_minimum() -> None:
    assert rate(terms(notation=(30, 6, 0), connect_fee_micros=1_000), 0, True) == Bill(30, 31_000)
    assert rate(terms(notation=(0, 6, 0), connect_fee_micros=1_000), 0, True) == Bill(0, 1_000)
    assert rate(terms(notation=(30, 6, 5), connect_fee_micros=1_000), 0, True) == Bill(0, 0)
    assert rate(terms(notation=(30, 6, 0), duration_rounding="none"), 900, True) == Bill(30, 30_000)


def test_what_was_not_answered_costs_nothing() -> None:
    assert rate(terms(connect_fee_micros=1_000_000), 0, False) == Bill(0, 0)


def test_a_negative_duration_is_an_error() -> None:
    with pytest.raises(ValueError, match="negative"):
        rate(terms(), -1, True)


any_terms = st.builds(
    terms,
    price_e8=st.integers(0, 10**11),
    notation=st.tuples(st.integers(0, 120), st.integers(1, 90), st.integers(0, 40)),
    connect_fee_micros=st.integers(0, 10**7),
    rounding_decimals=st.integers(0, 6),
    duration_rounding=st.sampled_from(["up", "nearest", "none"]),
)


def oracle(facts: Facts, duration_ms: int) -> Bill:
    exact = Fraction(duration_ms, 1000)
    if facts.duration_rounding == "up":
        seconds = -floor(-exact)
    elif facts.duration_rounding == "nearest":
        seconds = floor(exact + Fraction(1, 2))
    else:
        seconds = floor(exact)
    if facts.free_seconds > 0 and seconds <= facts.free_seconds:
        return Bill(0, 0)
    billed = facts.minimum_seconds
    while billed < seconds:
        billed += facts.increment_seconds
    price = Fraction(facts.price_e8, 10**8)
    amount = Fraction(facts.connect_fee_micros, 10**6) + billed * price / 60
    scale = 10**facts.rounding_decimals
    return Bill(billed, int(Fraction(floor(amount * scale + Fraction(1, 2)), scale) * 10**6))


@given(any_terms, st.integers(0, 3_600_000))
def test_the_bill_equals_the_oracle(facts: Facts, duration_ms: int) -> None:
    assert rate(facts, duration_ms, True) == oracle(facts, duration_ms)


@given(any_terms, st.integers(0, 600_000), st.integers(0, 600_000))
def test_a_longer_call_never_costs_less(facts: Facts, one_ms: int, more_ms: int) -> None:
    assert rate(facts, one_ms, True).amount_micros <= rate(facts, one_ms + more_ms, True).amount_micros


@given(any_terms, st.integers(-100, 10**8), st.integers(1, 400))
def test_affordable_seconds_equals_counting_up(facts: Facts, budget_micros: int, most_seconds: int) -> None:
    found = affordable_seconds(facts, budget_micros, most_seconds)
    shortest = oracle(facts, (facts.free_seconds + 1) * 1000).amount_micros
    affordable = [
        seconds
        for seconds in range(1, most_seconds + 1)
        if oracle(facts, seconds * 1000).amount_micros <= budget_micros
    ]
    if budget_micros < 0 or shortest > budget_micros:
        assert found == 0
    else:
        assert found == max(affordable)
