"""The guard of the tests' own time: what it counts, what it lets pass, what it fails; and the file that it reads."""

import pytest
from budgets import FILE, Phase, over_budget, own_seconds, read_budgets, time_table
from ports import part_of

TEXT = """
total_seconds = 100
whole_total_seconds = 500
default_seconds = 10
[files]
"tests/slow.py" = 40
[together]
"one line" = ["tests/slow.py", "tests/quick.py"]
"""
BUDGETS = read_budgets(TEXT)


def phases(file: str, *seconds: float, shared_seconds: float = 0.0) -> list[Phase]:
    """Set-up, call, tear-down of one test."""
    names = ("setup", "call", "teardown")
    return [Phase(f"{file}::test_it[a::b]", *one, shared_seconds) for one in zip(names, seconds, strict=False)]


@pytest.mark.parametrize(
    ("measured", "wall_seconds", "slowness", "said"),
    [
        (phases("tests/slow.py", 10, 29, 1), 60, 1, ""),
        (phases("tests/slow.py", 10, 30, 1), 60, 1, "tests/slow.py took 41 s; its budget is 40 s"),
        (phases("tests/slow.py", 10, 30, 1), 60, 1.1, ""),  # on a slower machine
        (phases("tests/any.py", 11), 60, 1, "tests/any.py took 11 s; its budget is 10 s"),
        (phases("tests/any.py", 11, shared_seconds=2), 60, 1, ""),  # a server that others use, too
        (phases("tests/any.py", 6) + phases("tests/other.py", 6), 60, 1, ""),
        ([], 101, 1, "the run took 101 s; its budget is 100 s"),
        ([], 101, 2, ""),
    ],
)
def test_what_is_over_its_budget_is_said(
    measured: list[Phase], wall_seconds: float, slowness: float, said: str
) -> None:
    assert over_budget(BUDGETS, measured, wall_seconds, slowness) == ([said] if said else [])


def test_the_tests_of_a_file_are_summed_up() -> None:
    measured = [Phase(f"tests/any.py::test_{number}", "call", 1.5) for number in range(7)]
    assert over_budget(BUDGETS, measured, 60, 1) == ["tests/any.py took 10 s; its budget is 10 s"]
    assert set(own_seconds(measured).values()) == {1.5}


def test_files_that_share_something_are_one_group_and_cost_what_they_cost_together() -> None:
    assert (BUDGETS.group("tests/quick.py"), BUDGETS.group("tests/any.py")) == ("one line", "tests/any.py")
    assert (BUDGETS.cost("one line"), BUDGETS.cost("tests/any.py")) == (50, 10)


def test_a_file_in_two_groups_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['tests/slow.py'\] in two groups"):
        read_budgets(TEXT + '"another" = ["tests/slow.py"]\n')


@pytest.mark.parametrize(
    ("line", "named"),
    [("[togther]", "togther"), ("[files2]", "files2"), ('"a" = -1', "a = -1"), ('"a" = nan', "a = nan"),
     ('"a" = "40"', "a = '40'"), ('"a" = true', "a = True")],
)  # fmt: skip
def test_what_is_no_budget_is_refused_by_name(line: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_budgets(TEXT.replace("[together]", f"{line}\n[together]"))


def test_the_budgets_are_of_files_that_are_there() -> None:
    budgets = read_budgets(FILE.read_text())
    named = {*budgets.files, *(file for files in budgets.together.values() for file in files)}
    assert [file for file in sorted(named) if not (FILE.parents[1] / file).exists()] == []
    assert budgets.default_seconds < min(budgets.files.values(), default=budgets.total_seconds)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_no_port_belongs_to_two_workers(workers: int) -> None:
    parts = [part_of(range(20_000, 32_000), worker, workers) for worker in range(workers)]
    ports = [port for part in parts for port in part]
    assert len(set(ports)) == len(ports) > 11_900
    assert all(part[0] % 2 == 0 for part in parts)


def test_the_table_has_each_long_file_by_phase_and_the_others_in_one_row() -> None:
    measured = phases("tests/any.py", 1, 2, 0.5) + phases("tests/slow.py", 3, 40, 0, shared_seconds=1)
    measured += [Phase("tests/other.py::test_a", "call", 1), Phase("tests/other.py::test_b", "call", 1)]
    assert time_table(measured).splitlines()[2:] == [
        "| tests/slow.py | 1 | 2.0 | 39.0 | 0.0 | 41.0 |",
        "| 2 files of less than 5 s | 3 | 1.0 | 4.0 | 0.5 | 5.5 |",
    ]


def test_in_the_longest_form_only_the_run_has_a_budget() -> None:
    measured = phases("tests/any.py", 400)
    assert over_budget(BUDGETS, measured, 499, 1, whole=True) == []
    assert over_budget(BUDGETS, measured, 501, 1, whole=True) == ["the run took 501 s; its budget is 500 s"]
