"""Rows by name: read, compare, and write only what differs, so that a second load changes nothing.

Each write stands in a savepoint of its own: what the database refuses becomes a message at the object's path, and the
rest is still looked at.
"""

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from runtime.changing import Connection, primary

# What a constraint means, by its name: (field, rule). What is not here is told in the server's words.
_RULES: Final = {
    "peers_identify": ("host", "another enabled originator has this address and tech prefix"),
    "peers_endpoint_key": ("endpoint", "another peer has this endpoint"),
    "accounts_company_id_kind_currency_key": (
        "currency",
        "the company has an account of this kind and currency already",
    ),
    "accounts_currency_fkey": ("currency", "there is no such currency"),
    "billing_packs_currency_fkey": ("currency", "there is no such currency"),
    "exchange_rates_currency_fkey": ("currency", "there is no such currency"),
    "route_classes_base_cycle": ("base", "it falls back to this class again"),
}


class Tables:
    """Writes by name into one transaction, and gathers what the database refuses."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.errors: list[str] = []
        self.notes: list[str] = []  # what a user should know of a load that is no error
        self.written = 0
        self._ids: dict[tuple[str, str], int | None] = {}

    def id_of(self, table: str, name: str) -> int | None:
        """The id of a row by its name; None where there is none."""
        if (table, name) not in self._ids:
            row = self._row(table, name, ())
            self._ids[table, name] = None if row is None else row[0]
        return self._ids[table, name]

    def put(self, path: str, table: str, values: Mapping[str, Any], fixed: tuple[str, ...] = ()) -> int | None:
        """Insert the row, or change the one of that name where it differs. Out: its id, None if it was refused.

        `fixed`: columns that never change once the row is there.
        """
        name = values["name"]
        row = self._row(table, name, tuple(values))
        if row is None:
            return self._insert(path, table, values)
        key, *old = row
        self._ids[table, name] = key
        changed = {
            column: value for (column, value), was in zip(values.items(), old, strict=True) if not _same(value, was)
        }
        refused = [column for column in fixed if column in changed]
        for column in refused:
            if column == "company_id":
                self.errors.append(f"{path}.name {name!r}: belongs to another company already, and stays there")
                continue
            was = old[tuple(values).index(column)]
            self.errors.append(f"{path}.{column} {values[column]!r}: {name!r} has {was!r} already, and keeps it")
        if changed and not refused:
            self._update(path, table, key, changed)
        return int(key)

    def run(
        self,
        path: str,
        statement: sql.Composed | sql.SQL,
        values: tuple[Any, ...],
        named: Mapping[str, Any] | None = None,
    ) -> tuple[Any, ...] | None:
        """A statement in a savepoint; its first row. What the database refuses becomes an error of `path`.

        `named`: the values by field, so that the error can tell the one that was refused.
        """
        try:
            with self.connection.transaction():
                cursor = self.connection.execute(statement, values)
                return cursor.fetchone() if cursor.description else None
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            self.errors.append(_message(path, error, named or {}))
            return None

    def _insert(self, path: str, table: str, values: Mapping[str, Any]) -> int | None:
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            _key(table),
        )
        row = self.run(path, statement, tuple(values.values()), values)
        self.written += row is not None
        self._ids[table, values["name"]] = None if row is None else row[0]
        return None if row is None else row[0]

    def _update(self, path: str, table: str, key: int, changed: Mapping[str, Any]) -> None:
        sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in changed)
        statement = sql.SQL("UPDATE {} SET {} WHERE {} = %s").format(sql.Identifier(table), sets, _key(table))
        self.run(path, statement, (*changed.values(), key), changed)
        self.written += 1

    def _row(self, table: str, name: str, columns: tuple[str, ...]) -> tuple[Any, ...] | None:
        wanted = [_key(table), *map(sql.Identifier, columns)]
        statement = sql.SQL("SELECT {} FROM {} WHERE name = %s").format(
            sql.SQL(", ").join(wanted), sql.Identifier(table)
        )
        return self.connection.execute(statement, (name,)).fetchone()


_KEYS: Final = {
    "companies": "company_id",
    "billing_packs": "pack_id",
    "route_classes": "route_class_id",
    "number_pools": "pool_id",
    "hunting_classes": "hunting_class_id",
}


def _key(table: str) -> sql.Identifier:
    return sql.Identifier(_KEYS.get(table, table.removesuffix("s") + "_id"))


def _same(value: Any, was: Any) -> bool:
    return bool(value == was) or (not isinstance(was, bool | int | type(None)) and str(value) == str(was))


def _message(path: str, error: psycopg.Error, named: Mapping[str, Any]) -> str:
    constraint = error.diag.constraint_name or ""
    field, rule = _RULES.get(constraint, ("", ""))
    if rule:
        return f"{_field(path, field, named)}: {rule}"
    table = error.diag.table_name or ""
    column = constraint.removeprefix(table + "_").removesuffix("_check")
    if constraint.endswith("_check") and column and not column[-1].isdigit() and column != "check":
        return f"{_field(path, column, named)}: the database refuses the value ({primary(error)})"
    return f"{path}: {primary(error)}"


def _field(path: str, field: str, named: Mapping[str, Any]) -> str:
    return f"{path}.{field} {str(named[field])!r}" if field in named else f"{path}.{field}"
