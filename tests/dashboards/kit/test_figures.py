"""Sums and figures: adding in any order, samples, and nothing divided by nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.kit.figures import Figure, Sums, by_name, read_sums, state_of, total

_COUNTS = st.integers(0, 10**9)
_MONEY = st.dictionaries(st.sampled_from(["USD", "EUR"]), st.integers(0, 10**15), max_size=2)
_SUMS = st.builds(Sums, calls=_COUNTS, legs=_COUNTS, calls_answered=_COUNTS, revenue_micros=_MONEY, cost_micros=_MONEY)


def figure(attempts: int = 0, answered: int = 0, **values: int) -> Figure:
    parts = {"refused": 0, "judged": 0, "reached": 0, "talk_ms": 0, "with_pdd": 0, "pdd_ms": 0, **values}
    return Figure(attempts=attempts, answered=answered, **parts)


@given(_SUMS, _SUMS, _SUMS)
def test_adding_is_the_same_in_any_order(one: Sums, two: Sums, three: Sums) -> None:
    assert (one + two) + three == three + (two + one)
    for currency in ("USD", "EUR"):
        assert (one + two).margin_micros(currency) == one.margin_micros(currency) + two.margin_micros(currency)


def test_figures_of_calls_and_of_legs() -> None:
    sums = Sums(calls=40, refused=3, calls_answered=10, calls_judged=32, calls_reached=24, calls_talk_ms=600_000,
                calls_with_pdd=4, calls_pdd_ms=6_000, legs=80, legs_answered=10)  # fmt: skip
    calls = sums.figure("calls")
    assert (calls.asr_percent, calls.ner_percent, calls.acd_seconds) == (25.0, 75.0, 60.0)
    assert (calls.mean_pdd_ms, calls.minutes, calls.refused) == (1_500.0, 10.0, 3)
    assert sums.figure("legs").asr_percent == 12.5
    assert sums.figure("legs").refused == 0


def test_of_nothing_there_is_no_figure() -> None:
    empty = Sums().figure("calls")
    assert (empty.asr_percent, empty.ner_percent, empty.acd_seconds, empty.mean_pdd_ms) == (None, None, None, None)
    assert empty.minutes == 0


@pytest.mark.parametrize(
    ("now", "before", "state"),
    [
        (figure(29, 0), figure(1_000, 900), "few"),
        (figure(100, 5), figure(29, 29), "normal"),
        (figure(100, 4), figure(29, 29), "amber"),
        (figure(0, 0), figure(30, 2), "amber"),
        (figure(100, 50), figure(100, 59), "normal"),
        (figure(100, 50), figure(100, 60), "normal"),  # chance alone does this
        (figure(400, 200), figure(400, 240), "amber"),
        (figure(100, 50), figure(100, 70), "red"),
        (figure(100, 70), figure(100, 10), "normal"),
        (figure(0, 0), figure(0, 0), "few"),
    ],
)
def test_state(now: Figure, before: Figure, state: str) -> None:
    assert state_of(now, before) == state


def _row(name: str, currency: str, is_now: int, **values: Any) -> dict[str, Any]:
    return {"name": name, "currency": currency, "is_now": is_now, "revenue_micros": 0, "cost_micros": 0, **values}


def test_rows_of_several_currencies_are_one_name() -> None:
    rows = [
        _row("A", "USD", 1, calls=3, revenue_micros=5),
        _row("A", "EUR", 1, calls=2, revenue_micros=7, cost_micros=1),
        _row("A", "USD", 0, calls=1),
        _row("B", "USD", 0, legs=9, cost_micros=4),
    ]
    named = by_name(rows)
    now, before = named["A"]
    assert (now.calls, before.calls) == (5, 1)
    assert now.revenue_micros == {"USD": 5, "EUR": 7}
    assert now.currencies() == ["EUR", "USD"]
    assert named["B"][0] == Sums()
    assert total(named)[1].legs == 9
    assert total({}) == (Sums(), Sums())


def test_read_sums_keeps_money_by_currency() -> None:
    sums = read_sums(_row("A", "EUR", 1, revenue_micros=0, cost_micros=12))
    assert sums.revenue_micros == {}
    assert sums.cost_micros == {"EUR": 12}
    assert sums.margin_micros("EUR") == -12
