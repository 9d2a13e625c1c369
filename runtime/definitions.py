"""Functions and views of both stores: one file each in schemas/STORE/functions and views, which says what runs.

They are applied behind the migrations (runtime/migrations.py), all of them where a migration was applied, else those
whose file has changed. The migrations that made them first stay as they were, and are history. A file is `CREATE OR
REPLACE`; where that cannot do it (another type of result, fewer columns), a `DROP … IF EXISTS` stands before. What is
no longer wanted is dropped by a migration.

    schemas/postgres/functions/admit.sql changed   →   streamco_definitions has another checksum   →   applied again
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Literal

Store = Literal["postgres", "clickhouse"]
KINDS: Final = ("functions", "views")  # in the order in which they are applied


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
    """Functions, then views, by name: of the installed files unless the store's directory is given."""
    found = []
    root = directory or files("schemas") / store
    for kind in KINDS:
        folder = root / kind
        paths = folder.iterdir() if folder.is_dir() else ()
        for file in sorted(paths, key=lambda one: one.name):
            name, dot, ending = file.name.partition(".")
            if dot and ending == "sql":
                sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
                found.append(Definition(store, kind, name, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return tuple(found)


def due(definitions: Iterable[Definition], applied: Mapping[str, str], *, all_of_them: bool) -> Sequence[Definition]:
    """Those to be applied, in their order. `applied`: checksums by label."""
    return [one for one in definitions if all_of_them or applied.get(one.label) != one.checksum]


def changed(definitions: Iterable[Definition], applied: Mapping[str, str]) -> list[str]:
    """Labels of those that were applied before and have another text now."""
    return [one.label for one in definitions if applied.get(one.label, one.checksum) != one.checksum]
