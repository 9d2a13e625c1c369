"""One runner for the SQL migrations of both stores: the numbered files of schemas/STORE/migrations.

Each file is applied once, in the order of its number, and recorded with its checksum. Safe to run twice and from
several processes at once: all of it happens under one PostgreSQL advisory lock, that of ClickHouse too. A PostgreSQL
migration and its record are one transaction. ClickHouse has none, so its files must bear being run again from the
start (CREATE … IF NOT EXISTS): a crash between a statement and the record repeats the file.

Migrations keep the tables. Functions and views are applied behind them (runtime/definitions.py).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import psycopg
import structlog
from clickhouse_connect.driver.client import Client

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Postgres
from runtime.definitions import Definition, DefinitionError, Store, changed, due, read_definitions, wanted
from runtime.locks import MIGRATIONS

LOCK_WAIT_SECONDS: Final = 120
_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
# What may hide a semicolon: strings and quoted names ('' or \' inside), comments. Then the semicolon itself.
_TOKEN: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<end>;)""", re.DOTALL
)

_log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """The files and what a store says was applied do not fit, or a migration failed. The text is for the user."""


@dataclass(frozen=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text, line ends made equal."""

    store: Store
    number: int
    name: str
    sql: str
    checksum: str

    @property
    def label(self) -> str:
        """As people name it: store and file."""
        return f"{self.store}/{self.number:04d}_{self.name}.sql"


@dataclass(frozen=True)
class Record:
    """What a store remembers of an applied migration."""

    name: str
    checksum: str


def read_migrations(store: Store, directory: Traversable | None = None) -> tuple[Migration, ...]:
    """The migrations of a store in order, of the installed files unless a directory is given. Raises MigrationError."""
    found: dict[int, Migration] = {}
    for file in (directory or files("schemas") / store / "migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{store}/{file.name}: a migration is named NNNN_name.sql")
        sql = file.read_text(encoding="utf-8").replace("\r\n", "\n")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        migration = Migration(store, int(match["number"]), match["name"], sql, checksum)
        if (other := found.setdefault(migration.number, migration)) is not migration:
            raise MigrationError(f"two migrations have one number: {other.label} and {migration.label}")
    return tuple(found[number] for number in sorted(found))


def pending(migrations: Sequence[Migration], applied: Mapping[int, Record]) -> tuple[Migration, ...]:
    """Those still to be applied. Raises MigrationError where files and records contradict each other."""
    known = {migration.number: migration for migration in migrations}
    for number, record in sorted(applied.items()):
        migration = known.get(number)
        if migration is None:
            store = migrations[0].store if migrations else "store"
            raise MigrationError(
                f"{store}: migration {number:04d}_{record.name} was applied, but this version of Streamco has no such "
                "file: the data was made by another version"
            )
        if migration.checksum != record.checksum:
            raise MigrationError(
                f"{migration.label} was changed after it had been applied (its checksum was {record.checksum[:12]}, "
                f"now {migration.checksum[:12]}): put it back, and change the schema by a new file"
            )
    missing = tuple(migration for migration in migrations if migration.number not in applied)
    last = max(applied, default=0)
    for migration in missing:
        if migration.number < last:
            raise MigrationError(f"{migration.label} comes before {last:04d}, which was applied: give it a new number")
    return missing


def split_statements(sql: str) -> list[str]:
    """The statements of a ClickHouse file, without comments and empty ones."""
    statements, kept, position = [], "", 0
    for token in _TOKEN.finditer(sql):
        kept += sql[position : token.start()]
        position = token.end()
        if token["end"]:
            statements.append(kept.strip())
            kept = ""
        else:
            kept += " " if token["comment"] else token[0]
    statements.append((kept + sql[position:]).strip())
    return [statement for statement in statements if statement]


def migrate_postgres(postgres: Postgres, migrations: Iterable[Migration] | None = None) -> list[str]:
    """Bring PostgreSQL to what the files say; the labels of migrations that were applied now, and of functions and
    views that have changed, in order. Given `migrations`, these alone.

    Raises MigrationError; psycopg's own errors where the server cannot be reached.
    """
    with locked(postgres) as connection:
        return _migrate_postgres(connection, migrations)


def migrate_clickhouse(
    postgres: Postgres, clickhouse: ClickHouse, migrations: Iterable[Migration] | None = None
) -> list[str]:
    """The same of ClickHouse, under PostgreSQL's lock. Raises clickhouse-connect's errors, too."""
    with locked(postgres):
        return _migrate_clickhouse(clickhouse, migrations)


@contextmanager
def locked(postgres: Postgres) -> Iterator[psycopg.Connection]:
    """A connection that holds the one lock of changes of the schema: a session's lock, which goes with it."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=10, autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATIONS,))
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationError(f"another process has been migrating for over {LOCK_WAIT_SECONDS} s") from error
        yield connection


def _migrate_postgres(connection: psycopg.Connection, migrations: Iterable[Migration] | None = None) -> list[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS streamco_migrations (number int PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    connection.execute(
        "CREATE TABLE IF NOT EXISTS streamco_definitions (label text PRIMARY KEY, checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = connection.execute("SELECT number, name, checksum FROM streamco_migrations").fetchall()
    applied = {number: Record(name, checksum) for number, name, checksum in rows}
    files = tuple(read_migrations("postgres") if migrations is None else migrations)
    rows = connection.execute("SELECT label, checksum FROM streamco_definitions").fetchall()
    before = {str(label): str(checksum) for label, checksum in rows}
    definitions = () if migrations is not None else _definitions("postgres", before)
    done = []
    for migration in pending(files, applied):
        try:
            with connection.transaction():
                connection.execute(migration.sql.encode())
                connection.execute("DELETE FROM streamco_definitions")  # a view keeps the columns that its table had
                connection.execute(
                    "INSERT INTO streamco_migrations (number, name, checksum) VALUES (%s, %s, %s)",
                    (migration.number, migration.name, migration.checksum),
                )
        except psycopg.Error as error:
            raise MigrationError(f"{migration.label} failed and changed nothing: {error}") from error
        _log.info("migrated", migration=migration.label)
        done.append(migration.label)
    if due(definitions, {} if done else before):
        _define_postgres(connection, definitions)
    return done + changed(definitions, before)


def _definitions(store: Store, before: Mapping[str, str]) -> Sequence[Definition]:
    """The functions and views of a store that remembers `before`. Raises MigrationError: a newer version was here."""
    try:
        definitions = read_definitions(store)
        due(definitions, before)
    except DefinitionError as error:
        raise MigrationError(str(error)) from error
    return definitions


def _define_postgres(connection: psycopg.Connection, definitions: Sequence[Definition]) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL check_function_bodies = off")  # they call each other
        for one in definitions:
            try:
                connection.execute(one.sql.encode())
            except psycopg.Error as error:
                raise MigrationError(f"{one.label} failed and changed nothing: {error}") from error
        connection.execute("DELETE FROM streamco_definitions")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO streamco_definitions (label, checksum) VALUES (%s, %s)", list(wanted(definitions).items())
            )
    _log.info("functions and views applied", store="postgres", count=len(definitions))


def _migrate_clickhouse(clickhouse: ClickHouse, migrations: Iterable[Migration] | None = None) -> list[str]:
    maker = connect(clickhouse, database="default")
    try:
        maker.command(f"CREATE DATABASE IF NOT EXISTS `{clickhouse.database}`")  # the name is checked by its type
    finally:
        maker.close()
    client = connect(clickhouse)
    try:
        client.command(
            "CREATE TABLE IF NOT EXISTS streamco_definitions (label String, checksum String,"
            " applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) ENGINE = MergeTree ORDER BY label"
        )
        rows = client.query("SELECT label, checksum FROM streamco_definitions").result_rows
        before = {str(label): str(checksum) for label, checksum in rows}
        definitions = () if migrations is not None else _definitions("clickhouse", before)
        done = _apply_clickhouse(client, tuple(read_migrations("clickhouse") if migrations is None else migrations))
        if due(definitions, {} if done else before):
            _define_clickhouse(client, definitions)
        return done + changed(definitions, before)
    finally:
        client.close()


def _define_clickhouse(client: Client, definitions: Sequence[Definition]) -> None:
    client.command("TRUNCATE TABLE streamco_definitions")
    for one in definitions:
        for statement in split_statements(one.sql):
            try:
                client.command(statement)
            except Exception as error:
                raise MigrationError(f"{one.label} failed at {statement[:80]!r}: {error}") from error
    rows = [list(one) for one in wanted(definitions).items()]
    client.insert("streamco_definitions", rows, column_names=["label", "checksum"])
    _log.info("functions and views applied", store="clickhouse", count=len(definitions))


def _apply_clickhouse(client: Client, migrations: Sequence[Migration]) -> list[str]:
    client.command(
        "CREATE TABLE IF NOT EXISTS streamco_migrations (number UInt32, name String, checksum String,"
        " applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) ENGINE = MergeTree ORDER BY number"
    )
    rows = client.query("SELECT number, name, checksum FROM streamco_migrations").result_rows
    applied = {number: Record(name, checksum) for number, name, checksum in rows}
    done = []
    for migration in pending(migrations, applied):
        client.command("TRUNCATE TABLE streamco_definitions")  # a view keeps the columns that its table had
        for statement in split_statements(migration.sql):
            try:
                client.command(statement)
            except Exception as error:
                raise MigrationError(f"{migration.label} failed at {statement[:80]!r}: {error}") from error
        row = [migration.number, migration.name, migration.checksum]
        client.insert("streamco_migrations", [row], column_names=["number", "name", "checksum"])
        _log.info("migrated", migration=migration.label)
        done.append(migration.label)
    return done
