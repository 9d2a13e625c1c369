"""What is pending, what contradicts, and where a ClickHouse file is cut: the parts that need no server."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.migrations import Migration, MigrationError, Record, pending, read_migrations, split_statements

ONE = Migration("postgres", 1, "one", "SELECT 1", "a" * 64)
TWO = Migration("postgres", 2, "two", "SELECT 2", "b" * 64)
FOUR = Migration("postgres", 4, "four", "SELECT 4", "d" * 64)


def test_what_was_not_applied_is_pending_in_order() -> None:
    assert pending((ONE, TWO, FOUR), {}) == (ONE, TWO, FOUR)
    assert pending((ONE, TWO, FOUR), {1: Record("one", "a" * 64)}) == (TWO, FOUR)
    assert pending((ONE,), {1: Record("one", "a" * 64)}) == ()


def test_a_changed_file_is_an_error() -> None:
    with pytest.raises(MigrationError, match=r"postgres/0001_one\.sql was changed after it had been applied"):
        pending((ONE, TWO), {1: Record("one", "c" * 64)})


def test_data_of_a_newer_version_is_an_error() -> None:
    with pytest.raises(MigrationError, match="0003_three was applied, but this version of Streamco has no such file"):
        pending((ONE, TWO), {1: Record("one", "a" * 64), 3: Record("three", "c" * 64)})


def test_a_number_that_slips_in_later_is_an_error() -> None:
    with pytest.raises(MigrationError, match=r"postgres/0002_two\.sql comes before 0004"):
        pending((ONE, TWO, FOUR), {1: Record("one", "a" * 64), 4: Record("four", "d" * 64)})


def test_files_are_read_in_order_and_line_ends_do_not_change_the_checksum(tmp_path: Path) -> None:
    (tmp_path / "0002_b.sql").write_bytes(b"SELECT 1;\r\nSELECT 2")
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\nSELECT 2")
    (tmp_path / "notes.md").write_text("not a migration")
    first, second = read_migrations("clickhouse", tmp_path)
    assert (first.number, second.number) == (1, 2)
    assert first.checksum == second.checksum
    assert first.label == "clickhouse/0001_a.sql"


@pytest.mark.parametrize("name", ["1_a.sql", "0001-a.sql", "0001_A.sql"])
def test_a_badly_named_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"is named NNNN_name\.sql"):
        read_migrations("postgres", tmp_path)


def test_two_files_with_one_number_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0001_b.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="two migrations have one number"):
        read_migrations("postgres", tmp_path)


def test_the_installed_files_are_found() -> None:
    assert read_migrations("postgres")[0].label == "postgres/0001_configuration.sql"
    assert read_migrations("clickhouse")[0].label == "clickhouse/0001_legs.sql"


def test_semicolons_in_strings_names_and_comments_do_not_cut() -> None:
    sql = "SELECT 'a;''b\\';'; -- one; two\n/* three; */ SELECT `c;d`, \"e;f\" ;\n;-- end;"
    assert split_statements(sql) == ["SELECT 'a;''b\\';'", 'SELECT `c;d`, "e;f"']


PIECES = st.sampled_from(["SELECT 1", "a", " ", "\n", "'x;y'", "''''", "'\\\\'", "-- c; d\n", "/* ; */", '"q;"', "`;`"])


@given(st.lists(st.lists(PIECES, min_size=1, max_size=6), min_size=1, max_size=5))
def test_joined_statements_come_apart_again(statements: list[list[str]]) -> None:
    alone = [split_statements("".join(pieces)) for pieces in statements]
    assert all(len(cut) <= 1 for cut in alone)
    assert split_statements(";".join("".join(pieces) for pieces in statements)) == [cut[0] for cut in alone if cut]
