"""Functions and views by file: which are due, and how they are read."""

from pathlib import Path

import pytest

from runtime import definitions as module
from runtime.definitions import (
    CHECKSUM,
    VERSION,
    Definition,
    DefinitionError,
    changed,
    checksum_of,
    due,
    read_definitions,
    wanted,
)

ONE = Definition("postgres", "functions", "one", "CREATE OR REPLACE …", "a" * 64)
TWO = Definition("postgres", "views", "two", "CREATE OR REPLACE …", "b" * 64)
BOTH = (ONE, TWO)
APPLIED = wanted(BOTH)


@pytest.mark.parametrize(
    "applied",
    [
        {},
        {**APPLIED, TWO.label: "c" * 64},
        {label: checksum for label, checksum in APPLIED.items() if label != ONE.label},
        {**APPLIED, "postgres/views/gone.sql": "d" * 64},
        {**APPLIED, "version": "0"},
    ],
)
def test_all_are_due_where_anything_differs(applied: dict[str, str]) -> None:
    """What is dropped for one of them may take others with it."""
    assert due(BOTH, applied) == BOTH


def test_nothing_is_due_twice() -> None:
    assert due(BOTH, APPLIED) == ()


def test_a_newer_versions_are_not_put_back() -> None:
    with pytest.raises(DefinitionError, match=f"of version {VERSION + 1} were applied"):
        due(BOTH, {"version": str(VERSION + 1)})


def test_what_is_applied_for_the_first_time_has_not_changed() -> None:
    assert changed(BOTH, {}) == []
    assert changed(BOTH, {**APPLIED, TWO.label: "c" * 64}) == ["postgres/views/two.sql"]
    assert changed(BOTH, {ONE.label: ONE.checksum}) == ["postgres/views/two.sql"]


def test_functions_come_before_views_and_line_ends_do_not_count(tmp_path: Path) -> None:
    for name, text in (("views/a.sql", b"x\r\ny"), ("functions/b.sql", b"x\ny")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
    first, second = read_definitions("clickhouse", tmp_path)
    assert (first.label, second.label) == ("clickhouse/functions/b.sql", "clickhouse/views/a.sql")
    assert first.checksum == second.checksum


@pytest.mark.parametrize("name", ["views/a.v2.sql", "views/A.sql", "functions/notes.md"])
def test_a_badly_named_file_and_no_file_are_errors(tmp_path: Path, name: str) -> None:
    with pytest.raises(DefinitionError, match="the installation is not whole"):
        read_definitions("clickhouse", tmp_path)
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(DefinitionError, match=r"is named for what it makes: name\.sql"):
        read_definitions("clickhouse", tmp_path)


def test_the_installed_files_are_found_and_each_makes_what_it_is_named_for() -> None:
    found = [*read_definitions("postgres"), *read_definitions("clickhouse")]
    assert len(found) > 40
    for one in found:
        kinds = ("VIEW",) if one.kind == "views" else ("FUNCTION", "PROCEDURE")
        assert any(f"CREATE OR REPLACE {kind} {one.name}" in one.sql for kind in kinds), one.label
        assert one.sql.count("CREATE OR REPLACE") == 1


def test_the_version_rises_with_every_change() -> None:
    now = checksum_of([*read_definitions("postgres"), *read_definitions("clickhouse")])
    assert now == CHECKSUM, f"raise VERSION in {module.__file__}, and write the new CHECKSUM beside it"
