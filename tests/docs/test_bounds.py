"""docs/bounds.md: every row says what, how much, by which metric and what then; none twice; the code agrees."""

import re
from pathlib import Path

from bounds import read_bounds

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "schemas", "tariffs", "runtime", "sinks", "router", "configuration", "billing", "agent", "streams", "simulator",
    "dashboards", "streamco",
)  # fmt: skip
BOUNDED = re.compile(r'\bBounded\(\s*"([a-z_]+)"')
GAUGE = re.compile(r'\b(?:gauge|Bounded)\(\s*"([a-z_]+)"')


def sources() -> str:
    return "\n".join(path.read_text() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))


def test_every_row_is_whole_and_there_once() -> None:
    rows = read_bounds()
    assert len(rows) > 8
    assert all(row.what and row.at_the_bound for row in rows)
    assert all(row.limit is None or row.limit > 0 for row in rows)
    assert len({row.metric for row in rows}) == len(rows)


def test_every_bound_of_the_code_is_a_row_with_a_number_and_the_other_way_round() -> None:
    text = sources()
    gauges = set(GAUGE.findall(text))
    limited = set(BOUNDED.findall(text)) | {name.removesuffix("_limit") for name in gauges if name.endswith("_limit")}
    rows = read_bounds()
    assert len(limited) > 10
    assert {f"streamco_{name}" for name in limited} == {row.metric for row in rows if row.limit is not None}
    assert {row.metric for row in rows} <= {f"streamco_{name}" for name in gauges}


def test_every_bound_is_watched_somewhere() -> None:
    """One that nobody watches would show an empty queue for ever."""
    text = sources()
    for name, metric in re.findall(r'^(\w+)(?:: Final)? = Bounded\(\s*"([a-z_]+)"', text, re.M):
        assert f"{name}.watch(" in text, metric


def test_numbers_of_the_document_are_those_of_the_code() -> None:
    """Each number stands in the code, as written there or as its power of two."""
    text = sources().replace("_", "")
    for row in read_bounds():
        if row.limit is not None:
            known = {str(row.limit), f"{row.limit >> 20} << 20"}
            assert any(re.search(rf"\b{number}\b", text) for number in known), row
