"""docs/bounds.md as a table: what is bounded, by how much, and the metric that shows it."""

import re
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).resolve().parents[2] / "docs" / "bounds.md"


class Bound(NamedTuple):
    """A row. `limit` is None where the bound is no number of ours (a disk, a topic)."""

    what: str
    limit: int | None
    metric: str
    at_the_bound: str


def read_bounds() -> list[Bound]:
    """All rows of all tables."""
    rows = []
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or line.startswith("| what |"):
            continue
        what, limit, metric, behaviour = (cell.strip() for cell in line.strip("|").split("|"))
        name = re.fullmatch(r"`(streamco_[a-z_]+)`", metric)
        assert name is not None, line
        rows.append(Bound(what, int(limit) if limit.isdecimal() else None, name[1], behaviour))
    return rows
