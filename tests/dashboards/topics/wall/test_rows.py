"""Rows of the wall's grids."""

from dashboards.kit.figures import Sums
from dashboards.topics.wall.rows import rows


def _legs(sent: int, answered: int) -> Sums:
    return Sums(legs=sent, legs_answered=answered, legs_judged=sent, legs_reached=answered)


def _calls(made: int, answered: int, refused: int = 0) -> Sums:
    return Sums(calls=made, calls_answered=answered, refused=refused)


def test_rows_without_any_traffic_are_left_out() -> None:
    named = {
        "": (Sums(refused=4), Sums()),
        "Old": (Sums(), _calls(3, 1)),
        "Nothing": (_legs(5, 1), _legs(4, 1)),
        "Busy": (_calls(9, 4, refused=2), Sums()),
    }
    found = {row["name"]: row for row in rows(named, "customer", Sums())}
    assert found.keys() == {"(unknown)", "Old", "Busy"}
    assert (found["Busy"]["attempts"], found["Busy"]["refused"], found["Busy"]["asr_state"]) == (9, 2, "few")
    assert found["Old"]["asr"] is None


def test_money_of_another_currency_is_marked_and_not_mixed() -> None:
    usd = Sums(calls=5, revenue_micros={"USD": 9_000_000}, cost_micros={"USD": 4_000_000})
    eur = Sums(calls=4, revenue_micros={"EUR": 3_000_000}, cost_micros={"EUR": 1_000_000})
    first, second = rows({"A": (usd, Sums()), "B": (eur, Sums())}, "customer", usd + eur)
    assert (first["money"], first["margin"], first["currency"]) == (9.0, 5.0, "")
    assert (second["money"], second["margin"], second["currency"]) == (3.0, 2.0, "EUR")
