"""The numbering plan of the world: complete enough for A–Z decks, and nothing twice."""

from collections import Counter

import pytest

from configuration.entities.countries import destinations

KINDS = {"fixed", "mobile", "premium", "emergency", "short", "satellite", "other"}


def _of(number: str) -> tuple[str, str]:
    """Country and kind of the longest code that a number begins with."""
    places = {place.code: place for place in destinations()}
    place = next(places[number[:length]] for length in range(len(number), 0, -1) if number[:length] in places)
    return place.country, place.kind


def test_every_code_is_there_once_and_is_what_the_table_takes() -> None:
    assert [code for code, times in Counter(place.code for place in destinations()).items() if times > 1] == []
    for place in destinations():
        assert place.code.isascii()
        assert place.code.isdigit()
        assert 1 <= len(place.code) <= 15
        assert len(place.country) == 2
        assert place.country.isupper()
        assert place.kind in KINDS
        assert 1 <= len(place.name) <= 64
    assert list(destinations()) == sorted(destinations())


def test_the_world_is_whole() -> None:
    countries = {place.country for place in destinations()}
    assert len(countries) > 200
    assert {place.code[0] for place in destinations()} == set("123456789")


def test_countries_with_ranges_of_their_own_have_mobile_and_fixed() -> None:
    kinds: dict[str, set[str]] = {}
    for place in destinations():
        kinds.setdefault(place.country, set()).add(place.kind)
    for country in ("GB", "DE", "FR", "IN", "BR", "NG", "PL", "ZA", "AE"):
        assert {"fixed", "mobile"} <= kinds[country], country
    assert sum({"fixed", "mobile"} <= found for found in kinds.values()) > 150


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("12125550100", ("US", "fixed")),
        ("14165550100", ("CA", "fixed")),  # a part of +1, not the United States
        ("12423220000", ("BS", "fixed")),
        ("447700900123", ("GB", "mobile")),
        ("442079460000", ("GB", "fixed")),
        ("4915112345678", ("DE", "mobile")),
        ("493012345678", ("DE", "fixed")),
        ("33612345678", ("FR", "mobile")),
        ("77012345678", ("KZ", "mobile")),  # a part of +7, not Russia
        ("79161234567", ("RU", "mobile")),
        ("390612345678", ("IT", "fixed")),
        ("4740612345", ("NO", "mobile")),
        ("99921000000", ("ZZ", "other")),
    ],
)
def test_numbers_belong_where_everyone_knows_they_do(number: str, expected: tuple[str, str]) -> None:
    assert _of(number) == expected
