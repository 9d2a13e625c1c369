"""The first line of the wall, and the order of its rows."""

from dashboards.kit.figures import Sums, lost_calls
from dashboards.topics.wall.judgement import Named, summary
from dashboards.topics.wall.rows import rows


def _legs(sent: int, answered: int) -> Sums:
    return Sums(legs=sent, legs_answered=answered, legs_judged=sent, legs_reached=answered)


def _calls(made: int, answered: int, refused: int = 0) -> Sums:
    return Sums(calls=made, calls_answered=answered, refused=refused)


def _named(vendors: dict[str, tuple[Sums, Sums]]) -> Named:
    return {"vendor": vendors, "destination": {}, "customer": {}}


def _said(vendors: dict[str, tuple[Sums, Sums]], now: Sums, before: Sums) -> list[tuple[str, str]]:
    return [(word.state, word.text) for word in summary(_named(vendors), now, before)]


def test_nothing_ended() -> None:
    assert _said({}, Sums(), _calls(100, 50)) == [("few", "No call has ended in this window: nothing to judge yet.")]


def test_nothing_stands_out() -> None:
    [(state, text)] = _said({"A": (_legs(100, 50), _legs(100, 52))}, _calls(100, 50), _calls(100, 52))
    assert state == "normal"
    assert text.startswith("Nothing stands out: ASR 50.0")


def test_without_a_comparison_nothing_is_said_to_be_well() -> None:
    [(state, text)] = _said({}, _calls(100, 50), _calls(3, 1))
    assert (state, "to compare with yet" in text, "stands out" in text) == ("normal", True, False)


def test_the_worst_comes_first_and_the_rest_is_counted() -> None:
    vendors = {
        "Small": (_legs(40, 0), _legs(100, 50)),
        "Large": (_legs(1_000, 300), _legs(1_000, 450)),
        "Gone": (_legs(0, 0), _legs(80, 60)),
        "Dead": (_legs(300, 1), _legs(0, 0)),
        "Lower": (_legs(400, 160), _legs(400, 204)),
    }
    said = _said(vendors, _calls(1_000, 300), _calls(1_000, 450))
    assert said == [
        ("amber", "Large: ASR 30.0 % of 1,000, ▼ 15 points in 1 h"),
        ("amber", "Gone: no legs at all, 80 an hour ago"),
        ("amber", "Lower: ASR 40.0 % of 400, ▼ 11 points in 1 h"),
        ("amber", "and 2 more"),
    ]
    order = [row["name"] for row in rows(vendors, "vendor", Sums())]
    assert order == ["Large", "Gone", "Lower", "Small", "Dead"]


def test_lost_calls_are_those_under_the_norm() -> None:
    assert lost_calls(_legs(200, 20).figure("legs"), _legs(100, 50).figure("legs")) == 80.0
    assert lost_calls(_legs(200, 96).figure("legs"), _legs(100, 50).figure("legs")) == 0.0
