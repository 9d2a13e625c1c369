"""docs/bounds.md: every row says what, how much, by which metric and what then; none is there twice."""

from bounds import read_bounds


def test_every_row_is_whole_and_there_once() -> None:
    rows = read_bounds()
    assert len(rows) > 8
    assert all(row.what and row.at_the_bound for row in rows)
    assert all(row.limit is None or row.limit > 0 for row in rows)
    assert len({row.metric for row in rows}) == len(rows)
