"""A peer's deck loaded into PostgreSQL: the file is the deck, all or nothing, and what is as it was is not touched."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing.prices.load import load_deck
from runtime.changing import WorldError
from schemas.channels import CONFIGURATION

pytestmark = pytest.mark.servers


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def _deck(dsn: str, name: str) -> list[tuple[Any, ...]]:
    return _rows(
        dsn,
        "SELECT code, price::text, (effective_from AT TIME ZONE 'UTC')::text FROM prices JOIN decks USING (deck_id)"
        f" WHERE name = '{name}' ORDER BY code, effective_from",
    )


def _state(dsn: str) -> list[tuple[Any, ...]]:
    return (
        _rows(dsn, "SELECT * FROM prices ORDER BY price_id")
        + _rows(dsn, "SELECT * FROM decks ORDER BY 1")
        + _rows(dsn, "SELECT * FROM configuration_generation")
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "deck.csv"


def test_the_file_is_the_deck(world_dsn: str, csv: Path) -> None:
    csv.write_text(
        "code,price,effective_from\n44,0.01,\n44,0.02,2027-01-01\n447,blocked,2026-07-01\n1,99999.99999999,\n"
    )
    result = load_deck(world_dsn, "vendor-b", csv)  # its pack is of Berlin
    assert (result.deck, result.rows, result.inserted, result.removed) == ("vendor-b", 4, 4, 0)
    always = "1970-01-01 00:00:00"
    assert _deck(world_dsn, "vendor-b") == [
        ("1", "99999.99999999", always),
        ("44", "0.01000000", always),
        ("44", "0.02000000", "2026-12-31 23:00:00"),
        ("447", None, "2026-06-30 22:00:00"),
    ]
    assert _deck(world_dsn, "vendor-a") == []


def test_a_repeat_changes_and_announces_nothing(world_dsn: str, csv: Path) -> None:
    csv.write_text("code,price,effective_from\n44,0.01,\n447,blocked,2026-07-01\n")
    load_deck(world_dsn, "acme", csv)
    before = _state(world_dsn)
    with psycopg.connect(world_dsn, autocommit=True) as listener:
        listener.execute(f"LISTEN {CONFIGURATION}".encode())
        result = load_deck(world_dsn, "acme", csv)
        assert list(listener.notifies(timeout=0.3)) == []
    assert (result.rows, result.inserted, result.removed) == (2, 0, 0)
    assert _state(world_dsn) == before


def test_a_hundred_thousand_rows_of_which_one_changes(world_dsn: str, csv: Path) -> None:
    lines = [f"{10_000_000 + at},0.{at % 99_999 + 1:05d}" for at in range(100_000)]
    csv.write_text("\n".join(["code,price", *lines]))
    assert load_deck(world_dsn, "vendor-a", csv).inserted == 100_000
    before = dict(_rows(world_dsn, "SELECT code, price_id FROM prices"))
    ((version, generation),) = _rows(
        world_dsn, "SELECT version, generation FROM decks, configuration_generation WHERE name = 'vendor-a'"
    )
    lines[50_000] = "10050000,7.5"
    del lines[70_000]
    csv.write_text("\n".join(["code,price", *lines, "2,1"]))
    result = load_deck(world_dsn, "vendor-a", csv)
    assert (result.rows, result.inserted, result.removed) == (100_000, 2, 2)
    after = dict(_rows(world_dsn, "SELECT code, price_id FROM prices"))
    assert len(after) == 100_000
    assert {code for code in before if after.get(code) != before[code]} == {"10050000", "10070000"}
    assert _rows(world_dsn, "SELECT price::text FROM prices WHERE code = '10050000'") == [("7.50000000",)]
    ((now, moved),) = _rows(
        world_dsn, "SELECT version, generation FROM decks, configuration_generation WHERE name = 'vendor-a'"
    )
    assert now > version, "the router would not rebuild it"
    assert moved > generation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,price\n1,0.1\nx,0.1\n", "row 3, column code, value 'x': must be 1 to 15 digits 0 to 9"),
        ("code,price\n1,0.1\n2,0.1\n1,0.3\n1,0.2\n", "row 4, column code, value '1': is in row 2 too"),
        (
            "code,price,effective_from\n1,0.1,2026-12-01T01:00:00+01:00\n1,0.2,2026-12-01\n",
            "row 3, column code, value '1': is in row 2 too, for the same moment",
        ),
        ("code,price\n", "deck.csv: has no rows"),
        ("code;price\n1;1\n", "row 1: the header"),
        ("code,price\n1,0\n", "zero is a price only where the billing pack allows free codes"),
    ],
)
def test_with_one_fault_nothing_is_changed(world_dsn: str, csv: Path, text: str, message: str) -> None:
    csv.write_text("code,price\n1,0.5\n3,0.5\n")
    load_deck(world_dsn, "acme", csv)
    before = _state(world_dsn)
    csv.write_text(text)
    with pytest.raises(WorldError) as caught:
        load_deck(world_dsn, "acme", csv)
    assert message in caught.value.messages[0]
    assert _state(world_dsn) == before


@pytest.mark.parametrize("bad", ["x,1\n", "1,0.1\n"], ids=["faulty", "twice"])
def test_a_flood_of_errors_is_a_hundred(world_dsn: str, csv: Path, bad: str) -> None:
    csv.write_text("code,price\n" + bad * 5_000)
    with pytest.raises(WorldError) as caught:
        load_deck(world_dsn, "acme", csv)
    assert len(caught.value.messages) == 100
    assert _deck(world_dsn, "acme") == []


def test_zero_is_a_price_where_the_pack_allows_it(world_dsn: str, csv: Path) -> None:
    csv.write_text("code,price\n1,0\n")
    assert load_deck(world_dsn, "vendor-free", csv).inserted == 1


@pytest.mark.parametrize("peer", ["nobody", "", "Acme", "acme\x00", "acme\udcff", "' OR true --"])
def test_a_peer_that_is_not_there(world_dsn: str, csv: Path, peer: str) -> None:
    csv.write_text("code,price\n1,1\n")
    with pytest.raises(WorldError):
        load_deck(world_dsn, peer, csv)
    assert _rows(world_dsn, "SELECT count(*) FROM prices") == [(0,)]


@pytest.mark.parametrize("code", ["", "x", "1" * 16, "٤٤", "1\n", "+1", "1 "])
def test_the_database_takes_digits_only(world_dsn: str, code: str) -> None:
    statement = "INSERT INTO prices (deck_id, code, price) SELECT min(deck_id), %s, 1 FROM decks"
    with psycopg.connect(world_dsn) as connection:
        connection.execute(statement, ("1" * 15,))
        with pytest.raises(psycopg.errors.CheckViolation, match="prices_code_check"):
            connection.execute(statement, (code,))


def test_prices_have_priorities_where_the_file_names_them(world_dsn: str, csv: Path) -> None:
    priorities = "SELECT code, priority FROM prices JOIN decks USING (deck_id) WHERE name = 'vendor-a' ORDER BY code"
    csv.write_text("code,price,priority\n44,0.01,2\n447,blocked,\n1,0.03,255\n")
    assert load_deck(world_dsn, "vendor-a", csv).inserted == 3
    assert _rows(world_dsn, priorities) == [("1", 255), ("44", 2), ("447", 0)]
    before = _state(world_dsn)
    load_deck(world_dsn, "vendor-a", csv)
    assert _state(world_dsn) == before
    csv.write_text("code,price\n44,0.01\n447,blocked\n1,0.03\n")
    assert load_deck(world_dsn, "vendor-a", csv).inserted == 2
    assert _rows(world_dsn, priorities) == [("1", 0), ("44", 0), ("447", 0)]
    csv.write_text("code,price,priority\n44,0.01,256\n")
    with pytest.raises(WorldError, match="row 2, column priority, value '256': must be a whole number from 0 to 255"):
        load_deck(world_dsn, "vendor-a", csv)
