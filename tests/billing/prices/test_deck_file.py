"""A deck's CSV file: each fault with its row, column, value and rule, in bounded memory. No database is asked."""

import gc
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.prices.deck_file import ALWAYS, MAX_ERRORS, MAX_LINE_CHARACTERS, DeckFile, DeckRow, DeckRules
from runtime.changing import WorldError

UTC_RULES = DeckRules("UTC", allow_free_codes=False)


def _read(path: Path, content: str | bytes, rules: DeckRules = UTC_RULES) -> tuple[list[DeckRow], list[str]]:
    file = path / "deck.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    deck = DeckFile(file, rules)
    return list(deck.rows()), deck.errors


def test_a_good_file(tmp_path: Path) -> None:
    content = (
        'price,code,effective_from\n0.01,44,\n"0.02000000", 447 ,2026-12-01\n\nBlocked,1,2026-12-01T00:00:00+02:00\n'
    )
    rows, errors = _read(tmp_path, content, DeckRules("Europe/Berlin", allow_free_codes=False))
    assert errors == []
    assert rows == [
        DeckRow(2, "44", "0.01", ALWAYS),
        DeckRow(3, "447", "0.02000000", "2026-11-30T23:00:00+00:00"),  # midnight of the pack's time zone
        DeckRow(5, "1", None, "2026-11-30T22:00:00+00:00"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    rows, errors = _read(tmp_path, end.join(["Code,PRICE", "44,0.5", "x,1", "1,0.25"]).encode(encoding))
    assert [(row.line, row.code, row.price) for row in rows] == [(2, "44", "0.5"), (4, "1", "0.25")]
    assert errors == ["row 3, column code, value 'x': must be 1 to 15 digits 0 to 9"]


CODE_RULE = "must be 1 to 15 digits 0 to 9"
PRICE_RULE = "must be a price per minute from 0 to 99999.99999999"
MOMENT_RULE = "must be an ISO date or time"
FORMULA_RULE = "formulas are not read"


@pytest.mark.parametrize(
    ("line", "column", "value", "rule"),
    [
        (",0.1,", "code", "", CODE_RULE),
        ("+44,0.1,", "code", "+44", CODE_RULE),
        ("-44,0.1,", "code", "-44", CODE_RULE),
        ("44 20,0.1,", "code", "44 20", CODE_RULE),
        ("4.4E+11,0.1,", "code", "4.4E+11", CODE_RULE),
        ("1234567890123456,0.1,", "code", "1234567890123456", CODE_RULE),
        ("٤٤,0.1,", "code", "٤٤", CODE_RULE),
        ("44\x00,0.1,", "code", "44\\x00", CODE_RULE),
        ("44,,", "price", "", PRICE_RULE),
        ("44,-0.1,", "price", "-0.1", PRICE_RULE),
        ("44,.1,", "price", ".1", PRICE_RULE),
        ("44,1.,", "price", "1.", PRICE_RULE),
        ("44,1e-3,", "price", "1e-3", PRICE_RULE),
        ("44,NaN,", "price", "NaN", PRICE_RULE),
        ("44,$0.1,", "price", "$0.1", PRICE_RULE),
        ('44,"0,1",', "price", "0,1", PRICE_RULE),
        ("44,0.123456789,", "price", "0.123456789", PRICE_RULE),
        ("44,100000,", "price", "100000", PRICE_RULE),
        ("44,٠.١,", "price", "٠.١", PRICE_RULE),
        ("44,0.00,", "price", "0.00", "zero is a price only where the billing pack allows free codes"),
        ("44,0.1,01/12/2026", "effective_from", "01/12/2026", MOMENT_RULE),
        ("44,0.1,2026-13-01", "effective_from", "2026-13-01", MOMENT_RULE),
        ("44,0.1,1970-01-01", "effective_from", "1970-01-01", MOMENT_RULE),
        ("44,0.1,2100-01-01", "effective_from", "2100-01-01", MOMENT_RULE),
        ("44,0.1,now", "effective_from", "now", MOMENT_RULE),
        ("=44,0.1,", "code", "=44", FORMULA_RULE),
        ("@SUM(A1),0.1,", "code", "@SUM(A1)", FORMULA_RULE),
        ("44,=1+1,", "price", "=1+1", FORMULA_RULE),
        ("44,+A1,", "price", "+A1", FORMULA_RULE),
        ("44,-A1,", "price", "-A1", FORMULA_RULE),
        ("44,\t0.1,", "price", "\\t0.1", FORMULA_RULE),
        ("44,0.1,=NOW()", "effective_from", "=NOW()", FORMULA_RULE),
        ("44,0.1", "(all)", "44,0.1", "has 2 fields, the header 3"),
        ("44,0.1,,", "(all)", "44,0.1,,", "has 4 fields, the header 3"),
        ("44;0.1;", "(all)", "44;0.1;", "has 1 fields, the header 3"),
        ('44,"0.1,', "(all)", '44,"0.1,\\n', "is not CSV"),
        ('44,"0"1,', "(all)", '44,"0"1,\\n', "is not CSV"),
    ],
)
def test_a_fault_is_told_by_row_column_value_and_rule(
    tmp_path: Path, line: str, column: str, value: str, rule: str
) -> None:
    rows, errors = _read(tmp_path, f"code,price,effective_from\n1,0.1,\n{line}\n2,0.2,\n")
    assert [row.code for row in rows] == ["1", "2"]
    (error,) = errors
    assert error.startswith(f"row 3, column {column}, value '{value}': {rule}"), error


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    rows, errors = _read(tmp_path, b"code,price\n44\xff,0.1\n1,0.1\n")
    assert [row.code for row in rows] == ["1"]
    assert errors == [f"row 2, column code, value '44\\udcff': {CODE_RULE}"]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("", ""),
        ("44,0.1\n", ""),
        ("code\n44\n", ""),
        ("code,price,code\n", ""),
        ("code,price,colour\n", ""),
        ("code;price\n44;0.1\n", "write commas"),
        ("x" * 10_000_000, ""),
        (b"\xff\xfe", ""),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ""),  # a workbook
    ],
    ids=str,
)
def test_a_header_that_is_none(tmp_path: Path, content: str | bytes, hint: str) -> None:
    with pytest.raises(WorldError) as caught:
        _read(tmp_path, content)
    (message,) = caught.value.messages
    assert "deck.csv, row 1: the header" in message
    assert "must name the columns code, price" in message
    assert hint in message
    assert len(message) < 700
    gc.collect()  # what was left open would warn here, and a warning is an error


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="No such file"):
        list(DeckFile(tmp_path / "gone.csv", UTC_RULES).rows())


def test_reading_stops_after_a_hundred_errors(tmp_path: Path) -> None:
    rows, errors = _read(tmp_path, "code,price\n" + "x,1\n" * 1_000 + "1,0.1\n")
    assert rows == []
    assert len(errors) == MAX_ERRORS == 100
    gc.collect()


def test_a_huge_line_is_one_error_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "deck.csv"
    path.write_text("code,price\n1,0.1\n" + "9" * 20_000_000 + ",1\n2,0.2\n", encoding="ascii")
    deck = DeckFile(path, UTC_RULES)
    tracemalloc.start()
    try:
        rows = list(deck.rows())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(row.line, row.code) for row in rows] == [(2, "1"), (4, "2")]
    assert deck.errors == [f"row 3, column (all), value '{'9' * 40}': a row has at most 1000 characters"]
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("length", range(MAX_LINE_CHARACTERS - 2, MAX_LINE_CHARACTERS + 4))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_are_counted_rightly_wherever_the_bound_falls(tmp_path: Path, length: int, end: str) -> None:
    long = f"1,{'0.1':>{length - 2}}"
    rows, errors = _read(tmp_path, end.join(["code,price", long, "x,1", ""]))
    # The end of a line counts among its characters.
    assert [row.line for row in rows] == ([2] if length + len(end) <= MAX_LINE_CHARACTERS else [])
    assert errors[-1].startswith("row 3, column code, value 'x'")


@given(st.from_regex(r"[0-9]{0,7}(\.[0-9]{0,10})?", fullmatch=True))
def test_a_price_is_taken_where_it_is_exact(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    deck = DeckFile(Path("unread"), DeckRules("UTC", allow_free_codes=True))
    whole, _, decimals = text.partition(".")
    good = 1 <= len(whole) <= 5 and len(decimals) <= 8 and not text.endswith(".")
    if good:
        assert Decimal(str(deck._price(text))) == Decimal(text)
    else:
        with pytest.raises(ValueError):
            deck._price(text)
