"""The migration runner on a real PostgreSQL: twice, at once, and when something is wrong."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psycopg
import pytest
from pydantic import SecretStr

from runtime.connections import Postgres
from runtime.definitions import Definition, read_definitions
from runtime.migrations import Migration, MigrationError, migrate_postgres, read_migrations

pytestmark = pytest.mark.servers


def file(number: int, sql: str) -> Migration:
    return Migration("postgres", number, f"m{number}", sql, hashlib.sha256(sql.encode()).hexdigest())


@pytest.fixture
def empty(postgres_server: str) -> Iterator[Postgres]:
    """A database without any migration."""
    name = f"streamco_test_empty_{time.time_ns()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield Postgres(dsn=SecretStr(postgres_server.rpartition("/")[0] + f"/{name}"))
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def tables(postgres: Postgres) -> set[str]:
    with psycopg.connect(postgres.dsn.get_secret_value()) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_all_files_are_applied_once(empty: Postgres) -> None:
    expected = [migration.label for migration in read_migrations("postgres")]
    assert migrate_postgres(empty) == expected
    assert migrate_postgres(empty) == []
    assert {"companies", "ledger_entries", "streamco_migrations", "streamco_definitions"} <= tables(empty)


def test_every_function_and_view_has_a_file_and_the_other_way_round(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        routines = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
        found = [*(("functions", name) for (name,) in routines), *(("views", name) for (name,) in views)]
    assert sorted(found) == sorted((one.kind, one.name) for one in read_definitions("postgres"))  # no name twice


def test_a_function_is_what_its_file_says_now(empty: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate_postgres(empty, read_migrations("postgres"))  # as a version did that had no such files
    assert migrate_postgres(empty) == []
    definitions = read_definitions("postgres")

    def say(sql: str) -> None:
        changed = Definition("postgres", "functions", "is_order", sql, sql)
        new = tuple(changed if one.name == "is_order" else one for one in definitions)
        monkeypatch.setattr("runtime.migrations.read_definitions", lambda _store: new)

    head = "CREATE OR REPLACE FUNCTION is_order(order_by text) RETURNS boolean LANGUAGE sql IMMUTABLE"
    say(f"{head} AS $$ SELECT order_by = '5%s' $$")
    assert migrate_postgres(empty) == ["postgres/functions/is_order.sql"]
    assert migrate_postgres(empty) == []
    with psycopg.connect(empty.dsn.get_secret_value()) as connection:
        assert connection.execute("SELECT is_order('5%s')").fetchone() == (True,)
    say(f"{head} AS $$ SELECT true $$; CREATE NONSENSE")
    with pytest.raises(MigrationError, match=r"postgres/functions/is_order\.sql failed and changed nothing: syntax"):
        migrate_postgres(empty)
    with psycopg.connect(empty.dsn.get_secret_value()) as connection:
        assert connection.execute("SELECT is_order('5%s')").fetchone() == (True,)


def test_definitions_come_again_behind_a_migration_that_was_the_last_thing_done(empty: Postgres) -> None:
    """It was killed between the two, or a definition failed."""
    migrate_postgres(empty)
    with psycopg.connect(empty.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("DROP VIEW limits_now")
        connection.execute("DROP TABLE streamco_migrations")
    migrate_postgres(empty, [file(99, "SELECT 1")])
    with psycopg.connect(empty.dsn.get_secret_value(), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM streamco_definitions").fetchone() == (0,)
        connection.execute("DELETE FROM streamco_migrations")
        connection.cursor().executemany(
            "INSERT INTO streamco_migrations (number, name, checksum) VALUES (%s, %s, %s)",
            [(one.number, one.name, one.checksum) for one in read_migrations("postgres")],
        )
    assert migrate_postgres(empty) == []
    with psycopg.connect(empty.dsn.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*) FROM limits_now").fetchone() == (0,)


def test_a_newer_versions_functions_are_not_put_back(empty: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate_postgres(empty)
    monkeypatch.setattr("runtime.definitions.VERSION", 0)
    with pytest.raises(MigrationError, match="the data was made by a newer one"):
        migrate_postgres(empty)


def test_two_processes_at_once_apply_each_file_once(empty: Postgres) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(migrate_postgres, [empty, empty])
    assert sorted(first + second) == [migration.label for migration in read_migrations("postgres")]


def test_a_failed_file_leaves_nothing_and_those_before_it_stay(empty: Postgres) -> None:
    broken = file(2, "CREATE TABLE half (n int); SELECT 1/0")
    with pytest.raises(MigrationError, match=r"postgres/0002_m2\.sql failed and changed nothing: division by zero"):
        migrate_postgres(empty, [file(1, "CREATE TABLE whole (n int)"), broken])
    assert tables(empty) == {"whole", "streamco_migrations", "streamco_definitions"}
    mended = file(2, "CREATE TABLE half (n int)")
    assert migrate_postgres(empty, [file(1, "CREATE TABLE whole (n int)"), mended]) == ["postgres/0002_m2.sql"]


def test_a_changed_file_is_refused(empty: Postgres) -> None:
    migrate_postgres(empty, [file(1, "CREATE TABLE a (n int)")])
    with pytest.raises(MigrationError, match="was changed after it had been applied"):
        migrate_postgres(empty, [file(1, "CREATE TABLE a (n bigint)"), file(2, "CREATE TABLE b (n int)")])
    assert "b" not in tables(empty)


def test_rules_that_were_an_allow_list_stay_one(empty: Postgres) -> None:
    """Until 0030 any rule that allows, in force, made the rules of its kind an allow-list."""
    migrations = read_migrations("postgres")
    migrate_postgres(empty, [one for one in migrations if one.number < 30])
    with psycopg.connect(empty.dsn.get_secret_value()) as connection:
        connection.execute("INSERT INTO number_pools (name) VALUES ('friends')")
        connection.execute("""
            INSERT INTO blocks (kind, action, prefix, pool_id, enabled, valid_from, valid_until) VALUES
                ('callee', 'allow', '44', NULL, true, NULL, NULL), ('callee', 'allow', '49', NULL, true, NULL, NULL),
                ('caller', 'deny', '44', NULL, true, NULL, NULL), ('caller', 'allow', '447', NULL, false, NULL, NULL),
                ('caller', 'allow', '1', NULL, true, NULL, now() - interval '1 minute'),
                ('caller', 'allow', '2', NULL, true, now() + interval '1 minute', NULL),
                ('callee_pool', 'allow', NULL, 1, true, now() - interval '1 day', now() + interval '1 day')""")
    migrate_postgres(empty, [one for one in migrations if one.number <= 30])
    with psycopg.connect(empty.dsn.get_secret_value()) as connection:
        found = connection.execute("SELECT peer_id, kind FROM allow_lists ORDER BY kind").fetchall()
    assert found == [(None, "callee"), (None, "callee_pool")]


def test_percent_signs_are_no_placeholders(empty: Postgres) -> None:
    assert migrate_postgres(empty, [file(1, "CREATE TABLE a AS SELECT '%s %(x)s 5%' AS text")])


def test_the_fixture_is_migrated_and_each_test_has_its_own(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM accounts WHERE kind = 'system'").fetchone() == (13,)
        assert connection.execute("SELECT count(*) FROM companies").fetchone() == (0,)
