"""Sparklines: a line that stays in its picture, with gaps where nothing is known."""

import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from dashboards.kit.spark import HEIGHT, WIDTH, spark


def _picture(uri: str) -> str:
    head, _, body = uri.partition(",")
    assert head == "data:image/svg+xml"
    return unquote(body)


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=80))
def test_every_point_is_inside(values: list[float | None]) -> None:
    picture = _picture(spark(values))
    points = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture)
    known = [value for value in values if value is not None]
    assert len(points) == (len(known) if len(known) > 1 else 0)
    for x, y in points:
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT


def test_a_gap_begins_a_new_line() -> None:
    picture = _picture(spark([1.0, 2.0, None, 3.0, 4.0]))
    assert len(re.findall("M", picture.split('d="')[1].split('"')[0])) == 2


def test_higher_is_further_up() -> None:
    points = re.findall(r"[ML][\d.]+ ([\d.]+)", _picture(spark([1.0, 5.0])))
    assert float(points[0]) > float(points[1])
