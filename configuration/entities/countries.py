"""The destinations of the world: every E.164 country code, and mobile, fixed and premium ranges of most countries.

countries.csv, one line a country: its codes (several where a country is a part of a numbering plan, as Canada of +1),
ISO 3166 alpha-2, English name, kind of the codes themselves, then ranges below its first code, `digits` or
`digits=Name`, separated by `|`. AC and XK are the codes that are in use for Ascension and Kosovo, and ZZ stands for
what belongs to no country (satellite systems, international networks). Where one dials the same digits for fixed and
mobile (+1, Mexico) there are no mobile ranges. Pure but for the reading of that file.
"""

import csv
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

TEST_RANGE: Final = "999"
_RANGE_KINDS: Final = ("fixed", "mobile", "premium")


class Destination(NamedTuple):
    """A code, the country it belongs to, what people call it, and its kind (as the destinations table has kinds)."""

    code: str
    country: str
    name: str
    kind: str


@cache
def destinations() -> tuple[Destination, ...]:
    """All destinations, by code. A test range that no country has is among them."""
    with (files(__package__) / "countries.csv").open(encoding="utf-8") as file:
        rows = [*_expand(csv.DictReader(file)), Destination(TEST_RANGE, "ZZ", "Test Range", "other")]
    return tuple(sorted(rows))


def _expand(rows: Iterable[dict[str, str]]) -> list[Destination]:
    expanded = []
    for row in rows:
        codes = row["codes"].split()
        country, name = row["iso"], row["country"]
        expanded += [Destination(code, country, name, row["kind"]) for code in codes]
        for kind in _RANGE_KINDS:
            for item in row[kind].split("|"):
                digits, _, place = item.partition("=")
                if digits:
                    expanded.append(Destination(codes[0] + digits, country, _range_name(name, kind, place), kind))
    return expanded


def _range_name(country: str, kind: str, place: str) -> str:
    if place:
        return f"{country} - {place}"
    return country if kind == "fixed" else f"{country} - {kind.capitalize()}"
