"""No two advisory locks have one number: whoever waits for another's waits for ever."""

import re
from pathlib import Path

from runtime import locks

ROOT = Path(locks.__file__).resolve().parent.parent
_IN_SQL = re.compile(r"pg(?:_try)?_advisory(?:_xact)?_lock\((\d+)\)")
_NUMBER = re.compile(r"\b736\d{4}\b")


def test_numbers_are_different_and_stand_in_one_place() -> None:
    named = [number for name, number in vars(locks).items() if name.isupper()]
    in_sql = {int(number) for path in (ROOT / "schemas").rglob("*.sql") for number in _IN_SQL.findall(path.read_text())}
    assert len(set(named)) == len(named) >= 4
    assert in_sql == {7361001, 7361020, 7361600}
    assert not in_sql & set(named)
    rooms = (
        "tariffs", "runtime", "sinks", "router", "configuration", "billing", "agent", "streams", "simulator",
        "dashboards", "streamco",
    )  # fmt: skip
    elsewhere = [
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if _NUMBER.search(path.read_text()) and path != Path(locks.__file__)
    ]
    assert elsewhere == []
