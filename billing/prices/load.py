"""A peer's deck from a CSV file: the file is the deck. All or nothing, and only rows that differ are touched.

Rows come by COPY into a table of the transaction's own; what only the whole file can tell (a code twice) is found
there, so that memory stays bounded. A row that is as it was keeps its price_id; a second load changes nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from billing.prices.deck_file import MAX_ERRORS, DeckFile, DeckRules
from runtime.changing import Connection, WorldError, changing, write_who
from runtime.user_acts import Person

_STAGE: Final = """
    CREATE TEMPORARY TABLE deck_load (
        line int NOT NULL, code text COLLATE "C" NOT NULL, effective_from timestamptz NOT NULL, price numeric(18,8),
        priority smallint NOT NULL DEFAULT 0
    ) ON COMMIT DROP
"""
_TWICE: Final = """
    SELECT line, code, first FROM (
        SELECT line, code, min(line) OVER (PARTITION BY code, effective_from) AS first FROM deck_load
    ) AS rows WHERE line <> first ORDER BY line LIMIT %s
"""
_GONE: Final = """
    FROM prices WHERE deck_id = %(deck)s AND NOT EXISTS (
        SELECT FROM deck_load WHERE deck_load.code = prices.code AND deck_load.effective_from = prices.effective_from
        AND deck_load.price IS NOT DISTINCT FROM prices.price AND deck_load.priority = prices.priority
    )
"""
_NEW: Final = """
    FROM deck_load WHERE NOT EXISTS (
        SELECT FROM prices WHERE prices.deck_id = %(deck)s AND prices.code = deck_load.code
        AND prices.effective_from = deck_load.effective_from
    )
"""
_INSERT: Final = (
    "INSERT INTO prices (deck_id, code, effective_from, price, priority)"
    " SELECT %(deck)s, code, effective_from, price, priority"
)


@dataclass(frozen=True)
class DeckResult:
    """What became of the deck. `removed` and `inserted` count a changed price in both; both are 0 on a repeat."""

    deck: str
    rows: int
    inserted: int
    removed: int


def load_deck(dsn: str, peer: str, csv_path: Path | str, by: Person | None = None) -> DeckResult:
    """Make a file the deck of a peer (by name), and of all who share it. Raises WorldError: errors by row."""
    with changing(dsn) as connection:
        deck_id, deck, rules = _deck_of(connection, peer)
        file = DeckFile(Path(csv_path), rules)
        _stage(connection, file)
        if file.errors:
            raise WorldError(file.errors)
        if not file.rows_read:
            raise WorldError([f"{csv_path}: has no rows; a deck without prices is not loaded"])
        twice = connection.execute(_TWICE, (MAX_ERRORS,)).fetchall()
        if twice:
            raise WorldError(
                [
                    f"row {line}, column code, value {code!r}: is in row {first} too, for the same moment"
                    for line, code, first in twice
                ]
            )
        removed, inserted = _replace(connection, deck_id)
        if removed or inserted:
            told = f"of {peer}, from {Path(csv_path).name}: {inserted:,} inserted, {removed:,} removed"
            write_who(connection, by, "configuration", "load deck", deck, told)
    return DeckResult(deck, file.rows_read, inserted, removed)


def _deck_of(connection: Connection, peer: str) -> tuple[int, str, DeckRules]:
    row = connection.execute(
        "SELECT deck_id, decks.name, time_zone FROM peers JOIN decks USING (deck_id)"
        " JOIN billing_packs USING (pack_id) WHERE peers.name = %s FOR UPDATE OF decks",
        (peer,),
    ).fetchone()
    if row is None:
        raise WorldError([f"peer {peer!r}: there is no peer of that name"])
    deck_id, deck, time_zone = row
    free = connection.execute(
        "SELECT bool_and(allow_free_codes) FROM peers JOIN billing_packs USING (pack_id) WHERE deck_id = %s", (deck_id,)
    ).fetchone()
    return deck_id, deck, DeckRules(time_zone, bool(free and free[0]))


def _stage(connection: Connection, file: DeckFile) -> None:
    connection.execute(_STAGE)
    priority = ", priority" if file.has_priorities() else ""
    statement = f"COPY deck_load (line, code, price, effective_from{priority}) FROM STDIN".encode()
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in file.blocks():
            copy.write(block)
    connection.execute("ANALYZE deck_load")


def _replace(connection: Connection, deck_id: int) -> tuple[int, int]:
    """(removed, inserted). A statement that touches no row announces no change."""
    deck = {"deck": deck_id}
    removed = connection.execute(b"DELETE " + _GONE.encode(), deck).rowcount
    inserted = connection.execute(_INSERT.encode() + _NEW.encode(), deck).rowcount
    return removed, inserted
