"""The migration runner on ClickHouse: twice, at once, after a crash in the middle, and when something is wrong."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Postgres
from runtime.definitions import read_definitions
from runtime.migrations import Migration, MigrationError, migrate_clickhouse, read_migrations

pytestmark = pytest.mark.servers

_numbers = itertools.count(1)
_ALL = [migration.label for migration in read_migrations("clickhouse")]


def file(number: int, sql: str) -> Migration:
    return Migration("clickhouse", number, f"m{number}", sql, hashlib.sha256(sql.encode()).hexdigest())


@pytest.fixture
def unmade(clickhouse_server: ClickHouse) -> Iterator[ClickHouse]:
    """A database that does not exist yet."""
    settings = clickhouse_server.model_copy(update={"database": f"streamco_test_{os.getpid()}_unmade_{next(_numbers)}"})
    yield settings
    with connect(clickhouse_server, database="default") as client:
        client.command(f"DROP DATABASE IF EXISTS {settings.database} SYNC")


def tables(settings: ClickHouse) -> set[str]:
    with connect(settings) as client:
        found = client.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    return {name for (name,) in found.result_rows}


def records(settings: ClickHouse) -> list[tuple[int, int]]:
    """Each number that is recorded, and how often."""
    with connect(settings) as client:
        found = client.query("SELECT number, count() FROM streamco_migrations GROUP BY number ORDER BY number")
    return [(number, count) for number, count in found.result_rows]


def test_the_database_is_made_and_all_files_are_applied_once(postgres: Postgres, unmade: ClickHouse) -> None:
    assert migrate_clickhouse(postgres, unmade) == _ALL
    assert migrate_clickhouse(postgres, unmade) == []
    assert {"legs", "decisions", "judged_legs", "streamco_migrations", "streamco_definitions"} <= tables(unmade)
    assert records(unmade) == [(migration.number, 1) for migration in read_migrations("clickhouse")]


def test_a_view_is_what_its_file_says_now(
    postgres: Postgres, unmade: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate_clickhouse(postgres, unmade, read_migrations("clickhouse"))  # as a version did that had no such files
    assert migrate_clickhouse(postgres, unmade) == []
    (view,) = read_definitions("clickhouse")
    changed = replace(view, sql="CREATE OR REPLACE VIEW judged_legs AS SELECT ';' AS text;", checksum="another")
    monkeypatch.setattr("runtime.migrations.read_definitions", lambda _store: (changed,))
    assert migrate_clickhouse(postgres, unmade) == ["clickhouse/views/judged_legs.sql"]
    assert migrate_clickhouse(postgres, unmade) == []
    with connect(unmade) as client:
        assert client.query("SELECT * FROM judged_legs").result_rows == [(";",)]


def test_two_processes_at_once_apply_each_file_once(postgres: Postgres, unmade: ClickHouse) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(migrate_clickhouse, [postgres] * 2, [unmade] * 2)
    assert sorted(first + second) == _ALL
    assert all(count == 1 for _, count in records(unmade))


def test_a_crash_before_the_record_repeats_the_file_and_loses_no_row(postgres: Postgres, unmade: ClickHouse) -> None:
    migrate_clickhouse(postgres, unmade)
    with connect(unmade) as client:
        client.insert("legs", [["call-1/0", "call-1"]], column_names=["leg_id", "call_id"])
        client.command("TRUNCATE TABLE streamco_migrations")
    assert migrate_clickhouse(postgres, unmade) == _ALL
    with connect(unmade) as client:
        assert client.query("SELECT leg_id FROM judged_legs").result_rows == [("call-1/0",)]


def test_a_failed_file_is_named_with_its_statement_and_tried_again(postgres: Postgres, unmade: ClickHouse) -> None:
    good = file(1, "CREATE TABLE IF NOT EXISTS whole (n Int8) ENGINE = MergeTree ORDER BY n")
    second = "CREATE TABLE IF NOT EXISTS half (n Int8) ENGINE = MergeTree ORDER BY n"
    broken = file(2, f"{second}; CREATE TABLE more (n Nonsense) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(MigrationError, match=r"clickhouse/0002_m2\.sql failed at 'CREATE TABLE more.*Nonsense"):
        migrate_clickhouse(postgres, unmade, [good, broken])
    assert records(unmade) == [(1, 1)]
    mended = file(2, f"{second}; CREATE TABLE more (n Int8) ENGINE = MergeTree ORDER BY n")
    assert migrate_clickhouse(postgres, unmade, [good, mended]) == ["clickhouse/0002_m2.sql"]
    assert tables(unmade) == {"whole", "half", "more", "streamco_migrations", "streamco_definitions"}


def test_a_changed_file_and_one_that_slips_in_are_refused(postgres: Postgres, unmade: ClickHouse) -> None:
    applied = [file(n, f"CREATE TABLE IF NOT EXISTS t{n} (n Int8) ENGINE = MergeTree ORDER BY n") for n in (1, 3)]
    migrate_clickhouse(postgres, unmade, applied)
    changed = file(1, "CREATE TABLE IF NOT EXISTS t1 (n Int16) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(MigrationError, match="was changed after it had been applied"):
        migrate_clickhouse(postgres, unmade, [changed, applied[1]])
    late = file(2, "CREATE TABLE t2 (n Int8) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(MigrationError, match=r"0002_m2\.sql comes before 0003"):
        migrate_clickhouse(postgres, unmade, [applied[0], late, applied[1]])
    assert tables(unmade) == {"t1", "t3", "streamco_migrations", "streamco_definitions"}


def test_the_fixture_is_migrated_and_each_test_has_its_own(clickhouse: ClickHouse) -> None:
    with connect(clickhouse) as client:
        assert client.command("SELECT count() FROM legs") == 0
        assert client.command("SELECT currentDatabase()") == clickhouse.database
