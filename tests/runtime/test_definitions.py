"""Functions and views by file: which are due, and how they are read."""

from pathlib import Path

import pytest

from runtime.definitions import Definition, changed, due, read_definitions

ONE = Definition("postgres", "functions", "one", "CREATE OR REPLACE …", "a" * 64)
TWO = Definition("postgres", "views", "two", "CREATE OR REPLACE …", "b" * 64)
LABELS = {ONE.label: ONE.checksum, TWO.label: TWO.checksum}


@pytest.mark.parametrize(
    ("applied", "all_of_them", "wanted"),
    [
        ({}, False, [ONE, TWO]),
        (LABELS, False, []),
        (LABELS, True, [ONE, TWO]),
        ({**LABELS, TWO.label: "c" * 64}, False, [TWO]),
        ({TWO.label: TWO.checksum}, False, [ONE]),
    ],
)
def test_what_is_due(applied: dict[str, str], all_of_them: bool, wanted: list[Definition]) -> None:
    assert due((ONE, TWO), applied, all_of_them=all_of_them) == wanted


def test_what_is_new_has_not_changed() -> None:
    assert changed((ONE, TWO), {}) == []
    assert changed((ONE, TWO), {**LABELS, TWO.label: "c" * 64}) == ["postgres/views/two.sql"]


def test_functions_come_before_views_and_line_ends_do_not_count(tmp_path: Path) -> None:
    for name, text in (("views/a.sql", b"x\r\ny"), ("functions/b.sql", b"x\ny"), ("functions/notes.md", b"none")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
    first, second = read_definitions("clickhouse", tmp_path)
    assert (first.label, second.label) == ("clickhouse/functions/b.sql", "clickhouse/views/a.sql")
    assert first.checksum == second.checksum


def test_the_installed_files_are_found_and_each_makes_what_it_is_named_for() -> None:
    found = [*read_definitions("postgres"), *read_definitions("clickhouse")]
    assert len(found) > 40
    for one in found:
        kinds = ("VIEW",) if one.kind == "views" else ("FUNCTION", "PROCEDURE")
        assert any(f"CREATE OR REPLACE {kind} {one.name}" in one.sql for kind in kinds), one.label
        assert one.sql.count("CREATE OR REPLACE") == 1
