"""The configuration's generation on the real PostgreSQL: it moves when a configured row has changed, and only then.

The tables and their columns come from the catalogue, so that a table of a later migration is tested too. Each has one
row of made-up values here; what would refuse those (checks, references, triggers of rows) is dropped first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from agent.ami.events import Seen
from agent.counters import Counters
from agent.settings import AgentSettings
from runtime.connections import Kafka, Postgres
from schemas.channels import CONFIGURATION
from sinks import holds
from sinks.control_actions import release_by_time
from streams.control_notify import Notifier
from streams.control_store import keep_destinations, read_controls, read_known

pytestmark = pytest.mark.servers

Connection = psycopg.Connection[Any]
VERSIONED: Final = {"prices": "decks", "pool_numbers": "number_pools"}
_TABLES: Final = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_proc ON tgfoid = pg_proc.oid
    WHERE proname IN ('configuration_changed', 'prices_changed', 'pool_numbers_changed') ORDER BY 1
"""
_COLUMNS: Final = """
    SELECT attname, format_type(atttypid, NULL), attnotnull FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_REFUSALS: Final = """
    SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname) FROM pg_constraint
    WHERE contype IN ('c', 'f') AND conparentid = 0 AND (conrelid = ANY (%(tables)s) OR confrelid = ANY (%(tables)s))
    UNION ALL
    SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger
    WHERE NOT tgisinternal AND tgtype & 1 = 1 AND tgrelid = ANY (%(tables)s)
"""
# By type: a value, and another one made of the one that is there.
_VALUES: Final = {
    "boolean": ("false", "NOT coalesce({}, false)"),
    "smallint": ("1", "coalesce({}, 0) + 1"),
    "integer": ("1", "coalesce({}, 0) + 1"),
    "bigint": ("1", "coalesce({}, 0) + 1"),
    "numeric": ("1", "coalesce({}, 0) + 1"),
    "inet": ("'192.0.2.1'", "coalesce({}, '192.0.2.1') + 1"),
    "text": ("'a'", "coalesce({}, '') || 'x'"),
    "text[]": ("'{{a}}'", "coalesce({}, '{{}}') || '{{x}}'::text[]"),
    "timestamp with time zone": ("'2026-01-01'", "coalesce({}, '2026-01-01') + interval '1 second'"),
}


class Configured:
    """A database with one row in each configured table."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tables: dict[str, dict[str, str]] = {}
        names = [row[0] for row in connection.execute(_TABLES)]
        tables = [connection.execute("SELECT %s::regclass::oid", (name,)).fetchone()[0] for name in names]  # type: ignore[index]
        for (statement,) in connection.execute(_REFUSALS, {"tables": tables}).fetchall():
            connection.execute(statement)
        self.run("TRUNCATE {}", sql.SQL(", ").join(map(sql.Identifier, names)))
        for name in names:
            columns = connection.execute(_COLUMNS, (name,)).fetchall()
            self.tables[name] = {column: kind for column, kind, _ in columns}
            needed = [(column, kind) for column, kind, not_null in columns if not_null]
            values = sql.SQL(", ").join(sql.SQL(_VALUES[kind][0].format()) for _, kind in needed)  # type: ignore[arg-type]
            columns_sql = sql.SQL(", ").join(sql.Identifier(column) for column, _ in needed)
            self.run("INSERT INTO {} ({}) VALUES ({})", sql.Identifier(name), columns_sql, values)

    def run(self, statement: str, *parts: sql.Composable) -> None:
        self.connection.execute(sql.SQL(statement).format(*parts))  # type: ignore[arg-type]

    def generation(self) -> int:
        row = self.connection.execute("SELECT generation FROM configuration_generation").fetchone()
        assert row is not None
        return int(row[0])

    def moves(self, statement: str, *parts: sql.Composable) -> int:
        """By how much the statement moves the generation."""
        before = self.generation()
        self.run(statement, *parts)
        return self.generation() - before

    def changed(self, table: str, column: str) -> sql.Composed:
        """`column = another value`."""
        name = sql.Identifier(column)
        another = sql.SQL(_VALUES[self.tables[table][column]][1]).format(name)  # type: ignore[arg-type]
        return sql.SQL("{} = {}").format(name, another)


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def configured(connection: Connection) -> Configured:
    return Configured(connection)


def test_every_configured_table_has_a_trigger_for_each_event(configured: Configured) -> None:
    assert {"peers", "decks", "prices", "control_actions", "pool_numbers", "lookups"} <= configured.tables.keys()
    events = configured.connection.execute(
        "SELECT tgrelid::regclass::text, array_agg(tgtype & 60 ORDER BY tgtype & 60) FROM pg_trigger"
        " JOIN pg_proc ON tgfoid = pg_proc.oid WHERE tgrelid::regclass::text = ANY (%s)"
        " AND proname IN ('configuration_changed', 'prices_changed', 'pool_numbers_changed') GROUP BY 1",
        (list(configured.tables),),
    ).fetchall()
    assert dict(events) == {
        table: [4, 8, 16, 32]
        for table in configured.tables  # INSERT, DELETE, UPDATE, TRUNCATE
    }


def test_a_statement_that_changes_nothing_does_not_move_it(configured: Configured) -> None:
    moved = []
    for table, columns in configured.tables.items():
        name = sql.Identifier(table)
        same = sql.SQL(", ").join(sql.SQL("{0} = {0}").format(sql.Identifier(column)) for column in columns)
        for statement in (
            "UPDATE {0} SET {1} WHERE false",
            "UPDATE {0} SET {1}",
            "DELETE FROM {0} WHERE false",
            "INSERT INTO {0} SELECT * FROM {0} WHERE false",
            "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT DO NOTHING",
        ):
            if configured.moves(statement, name, same):
                moved.append((table, statement))
        with configured.connection.transaction(force_rollback=True):
            configured.run("DELETE FROM {}", name)
            if configured.moves("TRUNCATE {}", name):
                moved.append((table, "TRUNCATE of no rows"))
    assert moved == []


def test_a_change_of_each_column_and_each_row_that_comes_or_goes_moves_it_once(configured: Configured) -> None:
    moved = {}
    for table, columns in configured.tables.items():
        name = sql.Identifier(table)
        for column in columns:
            with configured.connection.transaction(force_rollback=True):
                change = configured.changed(table, column)
                moved[table, column] = configured.moves("UPDATE {} SET {}", name, change)
        with configured.connection.transaction(force_rollback=True):
            configured.run("CREATE TEMPORARY TABLE kept AS TABLE {}", name)
            moved[table, "DELETE"] = configured.moves("DELETE FROM {}", name)
            moved[table, "INSERT"] = configured.moves("INSERT INTO {} TABLE kept", name)
            moved[table, "TRUNCATE"] = configured.moves("TRUNCATE {}", name)
    assert {key: count for key, count in moved.items() if count != 1} == {}


def test_an_upsert_moves_it_if_it_changes_the_row(configured: Configured) -> None:
    upsert = (
        "INSERT INTO companies (company_id, name) VALUES (1, {0}) ON CONFLICT (company_id) DO UPDATE SET name = {0}"
    )
    configured.run("UPDATE companies SET company_id = 1, name = 'Acme'")
    assert [configured.moves(upsert, sql.Literal(name)) for name in ("Acme", "Acme 2", "Acme 2")] == [0, 1, 0]


@pytest.mark.parametrize(("table", "key"), [("prices", "deck_id"), ("pool_numbers", "pool_id")])
def test_a_row_that_goes_to_another_deck_or_pool_moves_the_versions_of_both(
    configured: Configured, table: str, key: str
) -> None:
    owners, name = VERSIONED[table], sql.Identifier(key)
    configured.run("INSERT INTO {} ({}, name) VALUES (2, 'b'), (3, 'c')", sql.Identifier(owners), name)
    versions = sql.SQL("SELECT {}, version FROM {} ORDER BY 1").format(name, sql.Identifier(owners))
    before = dict(configured.connection.execute(versions).fetchall())
    assert configured.moves("UPDATE {} SET {} = 2", sql.Identifier(table), name) == 1
    after = dict(configured.connection.execute(versions).fetchall())
    assert {owner: after[owner] - before[owner] for owner in after} == {1: 1, 2: 1, 3: 0}


def test_rows_that_are_equal_and_types_without_equality(configured: Configured) -> None:
    """A table without a key, with a type that has no equality, to which a column comes while the session goes on."""
    configured.run("CREATE TABLE notes (note text, about json)")
    configured.run("CALL announce_changes('notes')")
    many = """INSERT INTO notes VALUES ('a', '{{"b": 1}}'), ('a', '{{"b": 1}}'), ('b', NULL)"""
    assert configured.moves(many) == 1
    assert configured.moves("UPDATE notes SET about = about") == 0
    one = "UPDATE notes SET note = 'b', about = NULL WHERE ctid = (SELECT min(ctid) FROM notes WHERE note = 'a')"
    assert configured.moves(one) == 1
    assert configured.moves("""UPDATE notes SET about = '{{"b": 2}}' WHERE note = 'a'""") == 1
    configured.run("ALTER TABLE notes ADD COLUMN more int")
    assert configured.moves("UPDATE notes SET more = 1") == 1
    assert configured.moves("UPDATE notes SET more = 1") == 0


def test_a_change_of_many_rows_is_announced_once_and_no_change_is_not(
    postgres_dsn: str, connection: Connection
) -> None:
    connection.execute("INSERT INTO decks (name) VALUES ('a')")
    codes = "SELECT deck_id, code::text, 1 FROM decks, generate_series(1, 99) AS code"
    with psycopg.connect(postgres_dsn, autocommit=True) as listener:
        listener.execute(f"LISTEN {CONFIGURATION}".encode())
        connection.execute(f"INSERT INTO prices (deck_id, code, price) {codes}".encode())
        connection.execute("UPDATE prices SET price = 1")
        connection.execute("UPDATE prices SET price = 2 WHERE code = '100'")
        announced = [int(notice.payload) for notice in listener.notifies(timeout=0.5)]
    assert connection.execute("SELECT array_agg(generation) FROM configuration_generation").fetchone() == (announced,)


def test_what_an_idle_stack_does_again_and_again_leaves_it_alone(
    postgres: Postgres, connection: Connection, tmp_path: Path
) -> None:
    """Nobody calls and nothing is configured: the agent's rounds and the controller's."""
    settings = AgentSettings(
        node="ast1", directory=tmp_path, kafka=Kafka(bootstrap="127.0.0.1:9"), postgres=postgres,
        ami_secret=SecretStr("right-secret"),
    )  # fmt: skip
    counters, notifier = Counters(settings, "mine"), Notifier(None)
    generation = "SELECT generation FROM configuration_generation"
    before = connection.execute(generation).fetchone()
    for number in range(3):
        counters.seen(Seen(number * 1_000, [], {}, {}, {}, {}), 1, 1_795_609_900_000 + number)
        counters._tell(connection)
        holds.sweep(connection, "ast1", "mine", [], [], 1_795_609_900_000)
        connection.execute("SELECT lease_limits('ast1', 'mine', '[]', interval '9 s'), uncount_silent(interval '9 s')")
        assert read_controls(connection) == []
        assert read_known(connection) == {}
        assert release_by_time(connection) == []
        notifier.tell(connection)
        keep_destinations(connection, {})
    assert connection.execute(generation).fetchone() == before
