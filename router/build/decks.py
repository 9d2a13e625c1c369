"""The decks that the builder knows: read from PostgreSQL once a version, kept on disk, in force as of a moment."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import psycopg
from numpy.typing import NDArray

from router.build.reader import read_prices
from router.snapshot.arrays import numpy_arrays, write_arrays
from router.snapshot.errors import SnapshotError
from router.snapshot.prices import Deck, RawDeck, begun_ms, in_force, next_ms

# Versions count from one in every database: what was read from another, or before a restore of this one, is not taken.
_DATABASE: Final = """
    SELECT system_identifier::text || '-' || timeline_id || '-' || (
        SELECT oid FROM pg_database WHERE datname = current_database())
    FROM pg_control_system(), pg_control_checkpoint()
"""
Progress = Callable[[int, int, int], None]  # decks read, of how many, rows of the one that is being read


class DeckFiles:
    """Decks by number and version in a directory, each all its prices, past and future."""

    def __init__(self, directory: Path, database: str) -> None:
        """`database` tells it from others whose decks have the same numbers."""
        self._directory = directory
        self._database = hashlib.blake2b(database.encode(), digest_size=6).hexdigest()
        self._moments: dict[str, NDArray[Any]] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def name(self, deck_id: int, version: int) -> str:
        """The name of a deck's file, which tells its content."""
        return f"deck-{deck_id}-{version}-{self._database}"

    def get(self, deck_id: int, version: int) -> RawDeck | None:
        """A deck that was read before and is whole; its arrays are mapped."""
        path = self._directory / self.name(deck_id, version)
        try:
            return RawDeck(**numpy_arrays(path))
        except (OSError, SnapshotError, TypeError):
            return None

    def moments(self, deck_id: int, version: int) -> NDArray[Any] | None:
        """The distinct moments of a deck that was read before; these are kept in memory, since every build asks."""
        name = self.name(deck_id, version)
        if name not in self._moments:
            deck = self.get(deck_id, version)
            if deck is None:
                return None
            self._moments[name] = deck.moments_ms.copy()
        return self._moments[name]

    def put(self, deck_id: int, version: int, deck: RawDeck) -> None:
        """Keep a deck."""
        write_arrays(self._directory / self.name(deck_id, version), deck._asdict())

    def keep_only(self, decks: Iterable[tuple[int, int]]) -> None:
        """Remove all others."""
        names = {self.name(*deck) for deck in decks}
        for path in self._directory.glob("*"):
            if path.name not in names:
                path.unlink(missing_ok=True)
                self._moments.pop(path.name, None)


def read_decks(
    connection: psycopg.Connection[Any], decks: Iterable[tuple[int, int]], files: DeckFiles, progress: Progress
) -> None:
    """Read what is not there yet, one deck after the other."""
    missing = [deck for deck in decks if files.moments(*deck) is None]
    for done, (deck_id, version) in enumerate(missing):

        def rows(count: int, done: int = done) -> None:
            progress(done, len(missing), count)

        rows(0)
        files.put(deck_id, version, read_prices(connection, deck_id, rows))


def database_name(connection: psycopg.Connection[Any]) -> str:
    """What tells this database from every other, and from itself before a restore."""
    row = connection.execute(_DATABASE).fetchone()
    return str(row[0]) if row else ""


class DecksAt:
    """The decks of a configuration as of a moment: what assemble.Decks asks for."""

    def __init__(self, files: DeckFiles, versions: dict[int, int], now_ms: int) -> None:
        self._files = files
        self._versions = versions
        self._now_ms = now_ms

    def key(self, deck_id: int, *, allow_free: bool) -> str:
        """Number, version, the moment that has begun, and whether it may be free."""
        version = self._versions.get(deck_id, 0)
        begun = begun_ms(self._moments(deck_id), self._now_ms)
        return f"{self._files.name(deck_id, version)}@{begun}.{allow_free:d}"

    def deck(self, deck_id: int, *, allow_free: bool) -> Deck:
        """The prices in force."""
        raw = self._files.get(deck_id, self._versions.get(deck_id, 0))
        if raw is None:
            raise SnapshotError(f"deck {deck_id}: its prices are not there")
        return in_force(raw, self._now_ms, allow_free=allow_free)

    def next_change_ms(self) -> int | None:
        """When the next price of any deck comes into force."""
        moments = (next_ms(self._moments(deck_id), self._now_ms) for deck_id in self._versions)
        return min((moment for moment in moments if moment is not None), default=None)

    def _moments(self, deck_id: int) -> NDArray[Any]:
        moments = self._files.moments(deck_id, self._versions.get(deck_id, 0))
        if moments is None:
            raise SnapshotError(f"deck {deck_id}: its prices are not there")
        return moments
