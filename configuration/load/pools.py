"""A pool's numbers from a CSV file: the file is the pool. All or nothing, and only numbers that differ are touched.

The file has one column; its header is `number`. A number is 1 to 15 digits, E.164 without a plus. One that is there
twice counts once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.changing import Connection, WorldError, changing, write_who
from runtime.user_acts import Person

MOST_NUMBERS: Final = 10_000_000
MAX_ERRORS: Final = 100
_BLOCK_LINES: Final = 10_000
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_STAGE: Final = "CREATE TEMPORARY TABLE pool_load (number text NOT NULL) ON COMMIT DROP"
_GONE: Final = """
    FROM pool_numbers WHERE pool_id = %(pool)s
    AND NOT EXISTS (SELECT FROM pool_load WHERE pool_load.number = pool_numbers.number)
"""
_NEW: Final = """
    FROM (SELECT DISTINCT number FROM pool_load) AS given WHERE NOT EXISTS (
        SELECT FROM pool_numbers WHERE pool_id = %(pool)s AND pool_numbers.number = given.number
    )
"""


@dataclass(frozen=True)
class PoolResult:
    """What became of the pool. `inserted` and `removed` are 0 on a repeat."""

    pool: str
    rows: int
    inserted: int
    removed: int


def load_pool(dsn: str, name: str, csv_path: Path | str, by: Person | None = None) -> PoolResult:
    """Make a file the numbers of a pool (by name; made if it is new). Raises WorldError: errors by row."""
    path = Path(csv_path)
    errors: list[str] = []
    with changing(dsn) as connection:
        pool = {"pool": _pool_of(connection, name)}
        rows = _stage(connection, path, errors)
        if errors:
            raise WorldError(errors)
        # A statement that touches no row announces no change.
        removed = connection.execute(b"DELETE " + _GONE.encode(), pool).rowcount
        statement = "INSERT INTO pool_numbers (pool_id, number) SELECT %(pool)s, number" + _NEW
        inserted = connection.execute(statement.encode(), pool).rowcount
        if removed or inserted:
            told = f"from {path.name}: {inserted:,} inserted, {removed:,} removed"
            write_who(connection, by, "configuration", "load pool", name, told)
    return PoolResult(name, rows, inserted, removed)


def _pool_of(connection: Connection, name: str) -> int:
    statement = "SELECT pool_id FROM number_pools WHERE name = %s FOR UPDATE"
    row = connection.execute(statement, (name,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO number_pools (name) VALUES (%s) RETURNING pool_id", (name,)).fetchone()
    assert row is not None  # noqa: S101 (for the type checker: an INSERT returns its row)
    return int(row[0])


def _stage(connection: Connection, path: Path, errors: list[str]) -> int:
    connection.execute(_STAGE)
    rows = 0
    with connection.cursor() as cursor, cursor.copy("COPY pool_load (number) FROM STDIN") as copy:
        for block in _blocks(path, errors):
            rows += block.count("\n")
            copy.write(block)
    connection.execute("ANALYZE pool_load")
    return rows


def _blocks(path: Path, errors: list[str]) -> Iterator[str]:
    """Good lines in blocks. Raises WorldError where the file as a whole cannot be read."""
    lines: list[str] = []
    count = 0
    try:
        # A line of a good file is short: one that is not is read in pieces, each of which is refused.
        with path.open(encoding="ascii", errors="replace", newline=None) as file:
            header = file.readline(100).strip(' \n\ufeff\ufffd"').lower()
            if header != "number":
                raise WorldError([f"{path}, row 1: the header {header[:40]!r} must be number"])
            for row, line in enumerate(iter(lambda: file.readline(100), ""), start=2):
                number = line.strip(' \n"')
                if not number:
                    continue
                count += 1
                if _NUMBER.fullmatch(number) is None:
                    errors.append(f"row {row}, column number, value {number[:40]!r}: must be 1 to 15 digits 0 to 9")
                elif count > MOST_NUMBERS:
                    errors.append(f"row {row}: a pool has at most {MOST_NUMBERS:,} numbers")
                if len(errors) >= MAX_ERRORS or count > MOST_NUMBERS:
                    break
                lines.append(number)
                if len(lines) == _BLOCK_LINES:
                    yield "\n".join(lines) + "\n"
                    lines.clear()
    except OSError as error:
        raise WorldError([f"{path}: {error.strerror or error}"]) from error
    if lines and not errors:
        yield "\n".join(lines) + "\n"
