"""Reads a deck's CSV file row by row, in bounded memory: every fault with its row, column, value and rule. No database.

The header names the columns `code`, `price` and, if there are any, `effective_from` and `priority`, in any order. A
price is per minute, with a decimal point and at most eight decimals, or the word `blocked`. A moment is an ISO date or
time; without an offset it is in the time zone of the peer's pack; without a moment a price has always been in force. A
priority is 0 to 255; without one it is 0.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TextIO
from zoneinfo import ZoneInfo

from billing.prices.deck_plain import plain_blocks
from runtime.changing import WorldError

ALWAYS: Final = "1970-01-01 00:00:00+00"
"""When a price begins that has no beginning: it is in force long since."""
MAX_ROWS: Final = 2_000_000
MAX_ERRORS: Final = 100
MAX_LINE_CHARACTERS: Final = 1_000
MAX_PRIORITY: Final = 255
NULL: Final = "\\N"
_ROWS_OF_BLOCK: Final = 2_000

_COLUMNS: Final = ("code", "price", "effective_from", "priority")
_NEEDED: Final = ("code", "price")
_CODE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_PRICE: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,8})?", re.ASCII)
_PRIORITY: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_FORMULA: Final = re.compile(r"[=@\t]|[+-][^0-9]")
_ENCODINGS: Final = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FIRST_YEAR, _LAST_YEAR = 1970, 2099


class DeckRow(NamedTuple):
    """A good row: its line in the file, and the texts that PostgreSQL reads; `price` None is blocked."""

    line: int
    code: str
    price: str | None
    effective_from: str
    priority: int = 0


class DeckRules(NamedTuple):
    """What the peers of the deck allow."""

    time_zone: str
    allow_free_codes: bool


class _RowError(ValueError):
    """(column, value, rule) of a row."""


class DeckFile:
    """The rows of a file, once. `errors` fills while they are read; after MAX_ERRORS the reading stops."""

    def __init__(self, path: Path, rules: DeckRules) -> None:
        self.path = path
        self.errors: list[str] = []
        self.rows_read = 0
        self._rules = rules
        self._moment = lru_cache(maxsize=1024)(lambda text: _moment(text, ZoneInfo(rules.time_zone)))

    def has_priorities(self) -> bool:
        """Whether the header names priorities. Of a file that cannot be read: no."""
        try:
            with self.path.open("rb") as file, _text(file) as text:
                return "priority" in _header(self.path, _lines(text))
        except (OSError, UnicodeError, WorldError):
            return False

    def blocks(self) -> Iterator[bytes]:
        """The good rows as COPY reads them: line, code, price, effective_from, and priority where the header names it.

        Plain rows pass in blocks; from the first that are not the usual way reads on, and tells what is wrong.
        """
        next_byte = 0
        try:
            for block in plain_blocks(self.path, allow_free=self._rules.allow_free_codes, moment_of=self._moment):
                if self.rows_read + block.rows > MAX_ROWS:
                    break
                self.rows_read += block.rows
                next_byte = block.next_byte
                yield block.text
        except OSError as error:
            raise WorldError([f"{self.path}: {error.strerror or error}"]) from error
        rows, priorities = self.rows(next_byte), self.has_priorities()
        while some := list(itertools.islice(rows, _ROWS_OF_BLOCK)):
            yield "".join(
                f"{row.line}\t{row.code}\t{NULL if row.price is None else row.price}\t{row.effective_from}"
                + (f"\t{row.priority}\n" if priorities else "\n")
                for row in some
            ).encode()

    def rows(self, next_byte: int = 0) -> Iterator[DeckRow]:
        """The good rows, from a byte on where those before it were read. Raises WorldError: the file cannot be read."""
        try:
            with self.path.open("rb") as file, _text(file) as text:
                lines = _lines(text)
                columns = _header(self.path, lines)
                if next_byte:
                    text.seek(next_byte)
                    lines = _lines(text, self.rows_read + 1)
                yield from self._rows(lines, columns)
        except OSError as error:
            raise WorldError([f"{self.path}: {error.strerror or error}"]) from error
        except UnicodeError as error:
            raise WorldError([f"{self.path}: is neither UTF-8 nor UTF-16: {error}"]) from error

    def _rows(self, lines: Iterator[tuple[int, str]], columns: tuple[str, ...]) -> Iterator[DeckRow]:
        for number, line in lines:
            if not line.strip():
                continue
            self.rows_read += 1
            if self.rows_read > MAX_ROWS:
                self.errors.append(f"row {number}: a deck has at most {MAX_ROWS:,} rows")
            else:
                try:
                    yield self._row(number, line, columns)
                except _RowError as fault:
                    column, value, rule = fault.args
                    self.errors.append(f"row {number}, column {column}, value {value[:40]!r}: {rule}")
            if len(self.errors) >= MAX_ERRORS or self.rows_read > MAX_ROWS:
                return

    def _row(self, number: int, line: str, columns: tuple[str, ...]) -> DeckRow:
        if len(line) > MAX_LINE_CHARACTERS:
            raise _RowError("(all)", line, f"a row has at most {MAX_LINE_CHARACTERS} characters")
        try:
            values = next(csv.reader((line,), strict=True))
        except (csv.Error, StopIteration) as error:
            raise _RowError("(all)", line, f"is not CSV: {error}") from error
        if len(values) != len(columns):
            raise _RowError("(all)", line.rstrip("\r\n"), f"has {len(values)} fields, the header {len(columns)}")
        cells = dict(zip(columns, (value.strip(" ") for value in values), strict=True))
        for column, value in cells.items():
            if _FORMULA.match(value):
                raise _RowError(column, value, "formulas are not read")
        code = cells["code"]
        if _CODE.fullmatch(code) is None:
            raise _RowError("code", code, "must be 1 to 15 digits 0 to 9")
        priority = cells.get("priority") or "0"
        if _PRIORITY.fullmatch(priority) is None or int(priority) > MAX_PRIORITY:
            raise _RowError("priority", priority, f"must be a whole number from 0 to {MAX_PRIORITY}")
        moment = self._moment(cells.get("effective_from", ""))
        return DeckRow(number, code, self._price(cells["price"]), moment, int(priority))

    def _price(self, text: str) -> str | None:
        if text.lower() == "blocked":
            return None
        if _PRICE.fullmatch(text) is None:
            raise _RowError(
                "price",
                text,
                "must be a price per minute from 0 to 99999.99999999, with a decimal point, or the word blocked",
            )
        if not text.strip("0.") and not self._rules.allow_free_codes:
            raise _RowError("price", text, "zero is a price only where the billing pack allows free codes")
        return text


def _moment(text: str, zone: ZoneInfo) -> str:
    if not text:
        return ALWAYS
    try:
        if not text.isascii():
            raise ValueError
        moment = datetime.fromisoformat(text)
        if not _FIRST_YEAR < moment.year <= _LAST_YEAR:
            raise ValueError
    except ValueError as error:
        rule = (
            f"must be an ISO date or time, as 2026-12-01 or 2026-12-01T00:00:00Z, of {_FIRST_YEAR + 1} to {_LAST_YEAR}"
        )
        raise _RowError("effective_from", text, rule) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).isoformat()


def _text(file: BinaryIO) -> io.TextIOWrapper:
    start = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in _ENCODINGS.items() if start.startswith(mark)), "utf-8")
    # Bytes that are no UTF-8 come out as what no code or price can be: the row is refused, and told.
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")


def _lines(text: TextIO, number: int = 0) -> Iterator[tuple[int, str]]:
    """Numbered lines, of which each is read in pieces of bounded length: the rest of a longer one is dropped."""
    end = ""
    while line := text.readline(MAX_LINE_CHARACTERS + 1):
        if line == "\n" and end == "\r":  # the bound fell between the two: they end one line, not two
            end = line
            continue
        number += 1
        yield number, line
        while line and len(line) > MAX_LINE_CHARACTERS and not line.endswith(("\n", "\r")):
            line = text.readline(MAX_LINE_CHARACTERS + 1)
        end = line[-1:]


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[str, ...]:
    _, line = next(lines, (0, ""))
    columns = tuple(name.strip(" \"'\r\n").lower() for name in line.split(","))
    unknown = [name for name in columns if name not in _COLUMNS]
    missing = [name for name in _NEEDED if name not in columns]
    if not unknown and not missing and len(set(columns)) == len(columns):
        return columns
    hint = " (separated by semicolons? write commas)" if ";" in line else ""
    raise WorldError(
        [
            f"{path}, row 1: the header {line.strip()[:80]!r} must name the columns code, price and, if there are "
            f"moments, effective_from, each once, separated by commas{hint}"
        ]
    )
