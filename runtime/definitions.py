"""Functions and views of both stores: one file each in schemas/STORE/functions and views, which says what runs.

They are applied behind the migrations (runtime/migrations.py): all of a store, where any of its files has changed or a
migration was applied. The migrations that made them first stay as they were, and are history; a migration calls no
function that has a file. A file is `CREATE OR REPLACE`. Where that cannot do it, a `DROP … IF EXISTS` stands before:
another type of result, other arguments (which would be a second function of the name), fewer columns of a view. What
depends on it is dropped by it and made again by its own file. What is no longer wanted is dropped by a migration.

    schemas/postgres/functions/admit.sql changed   →   other checksums than in streamco_definitions   →   all applied

`VERSION` rises with every change: a program with a lower one than the database does not put its own functions back.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Literal

Store = Literal["postgres", "clickhouse"]
KINDS: Final = ("functions", "views")  # in the order in which they are applied
VERSION: Final = 1
"""Of all files together. A test holds it against CHECKSUM."""
CHECKSUM: Final = "603bae3f1d7da61db73cee1c02d6ead540793d60e40610b888f8cc68ea6f1888"
VERSION_LABEL: Final = "version"
_FILE_NAME: Final = re.compile(r"(?P<name>[a-z0-9_]+)\.sql")


class DefinitionError(Exception):
    """The files cannot be used, or the database is a newer version's. The text is for the user."""


@dataclass(frozen=True)
class Definition:
    """One file. `checksum` is the SHA-256 of its text, line ends made equal."""

    store: Store
    kind: str
    name: str
    sql: str
    checksum: str

    @property
    def label(self) -> str:
        """As people name it: store and file."""
        return f"{self.store}/{self.kind}/{self.name}.sql"


def read_definitions(store: Store, directory: Traversable | None = None) -> tuple[Definition, ...]:
    """Functions, then views, by name: of the installed files unless the store's directory is given.

    Raises DefinitionError.
    """
    found = []
    root = directory or files("schemas") / store
    for kind in KINDS:
        folder = root / kind
        paths = folder.iterdir() if folder.is_dir() else ()
        for file in sorted(paths, key=lambda one: one.name):
            match = _FILE_NAME.fullmatch(file.name)
            if match is None:
                raise DefinitionError(f"{store}/{kind}/{file.name}: a file here is named for what it makes: name.sql")
            sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
            found.append(Definition(store, kind, match["name"], sql, hashlib.sha256(sql.encode()).hexdigest()))
    if not found:
        raise DefinitionError(f"{store}: no function and no view was found in {root}: the installation is not whole")
    return tuple(found)


def checksum_of(definitions: Iterable[Definition]) -> str:
    """One for all of them."""
    text = "".join(f"{one.label} {one.checksum}\n" for one in definitions)
    return hashlib.sha256(text.encode()).hexdigest()


def wanted(definitions: Iterable[Definition]) -> dict[str, str]:
    """What a store remembers once they are applied: checksums by label, and the version."""
    return {VERSION_LABEL: str(VERSION), **{one.label: one.checksum for one in definitions}}


def due(definitions: Sequence[Definition], applied: Mapping[str, str]) -> Sequence[Definition]:
    """Those to be applied, in their order: all of them, or none. Raises DefinitionError where a newer version was here.

    `applied`: what the store remembers; nothing after a migration.
    """
    version = int(applied.get(VERSION_LABEL, 0))
    if version > VERSION:
        raise DefinitionError(
            f"functions and views of version {version} were applied, and this version of Streamco has {VERSION}: the "
            "data was made by a newer one"
        )
    return () if applied == wanted(definitions) else definitions


def changed(definitions: Iterable[Definition], applied: Mapping[str, str]) -> list[str]:
    """Labels of those that were applied before and have another text now, or are new; none where none was."""
    return [one.label for one in definitions if applied and applied.get(one.label) != one.checksum]
