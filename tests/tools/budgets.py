"""How long each test file may take, as tests/budgets.toml has it: pure, so that the guard itself can be tested."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

SHORT_SECONDS: Final = 5
_MOST_SECONDS: Final = 86_400
_KEYS: Final = {"total_seconds", "whole_total_seconds", "default_seconds", "files", "together"}
FILE: Final = Path(__file__).parents[1] / "budgets.toml"


class Phase(NamedTuple):
    """One phase of one test: its set-up, its call or its tear-down."""

    test: str  # pytest's node id
    when: str  # setup, call or teardown
    seconds: float
    shared_seconds: float = 0.0  # of these, what a fixture of the whole session took: no test's own

    @property
    def file(self) -> str:
        """The test's file."""
        return file_of(self.test)

    @property
    def own_seconds(self) -> float:
        """Without what it shares with others."""
        return max(0.0, self.seconds - self.shared_seconds)


@dataclass(frozen=True)
class Budgets:
    """tests/budgets.toml."""

    total_seconds: float
    whole_total_seconds: float
    default_seconds: float
    files: Mapping[str, float]
    together: Mapping[str, tuple[str, ...]]

    def of(self, file: str) -> float:
        """Seconds that a file may take on the machine that the budgets were measured on."""
        return self.files.get(file, self.default_seconds)

    def group(self, file: str) -> str:
        """What runs in one process, one after the other: the file's group, else the file by itself."""
        return next((name for name, files in self.together.items() if file in files), file)

    def cost(self, group: str) -> float:
        """Seconds of a whole group."""
        return sum(self.of(file) for file in self.together.get(group, (group,)))


def file_of(test: str) -> str:
    """The file of a node id."""
    return test.partition("::")[0]


@cache
def budgets_of_the_suite() -> Budgets:
    """Those of tests/budgets.toml, read once."""
    return read_budgets(FILE.read_text())


def read_budgets(text: str) -> Budgets:
    """Parse it. Raises ValueError where it contradicts itself."""
    document = tomllib.loads(text)
    if unknown := set(document) - _KEYS:
        raise ValueError(f"budgets.toml: {sorted(unknown)}: must be among {sorted(_KEYS)}")
    totals = {key: document[key] for key in ("total_seconds", "whole_total_seconds", "default_seconds")}
    for name, seconds in (totals | document.get("files", {})).items():
        if type(seconds) not in (int, float) or not 0 < seconds < _MOST_SECONDS:
            raise ValueError(
                f"budgets.toml: {name} = {seconds!r}: must be seconds, more than 0, less than {_MOST_SECONDS}"
            )
    together = {name: tuple(files) for name, files in document.get("together", {}).items()}
    placed = [file for files in together.values() for file in files]
    if twice := {file for file in placed if placed.count(file) > 1}:
        raise ValueError(f"budgets.toml: [together] has {sorted(twice)} in two groups")
    return Budgets(
        total_seconds=float(document["total_seconds"]),
        whole_total_seconds=float(document["whole_total_seconds"]),
        default_seconds=float(document["default_seconds"]),
        files={file: float(seconds) for file, seconds in document.get("files", {}).items()},
        together=together,
    )


def own_seconds(phases: Iterable[Phase]) -> dict[str, float]:
    """Seconds of each test, without what it shares with others."""
    seconds: Counter[str] = Counter()
    for phase in phases:
        seconds[phase.test] += phase.own_seconds
    return dict(seconds)


def time_table(phases: Iterable[Phase]) -> str:
    """A Markdown table: tests and seconds of each file by phase, the longest first; short files in one row."""
    rows: dict[str, Counter[str]] = {}
    tests: dict[str, set[str]] = {}
    for phase in phases:
        rows.setdefault(phase.file, Counter())[phase.when] += phase.own_seconds
        tests.setdefault(phase.file, set()).add(phase.test)
    short = [file for file, row in rows.items() if row.total() < SHORT_SECONDS]
    rest = sum((rows.pop(file) for file in short), Counter())
    count = sum(len(tests[file]) for file in short)
    lines = ["| file | tests | set-up | call | tear-down | together |", "|---|---|---|---|---|---|"]
    ordered = sorted(rows.items(), key=lambda pair: -pair[1].total())
    for name, number, row in [(file, len(tests[file]), row) for file, row in ordered] + [
        (f"{len(short)} files of less than {SHORT_SECONDS} s", count, rest)
    ]:
        phases_text = " | ".join(f"{row[when]:.1f}" for when in ("setup", "call", "teardown"))
        lines.append(f"| {name} | {number} | {phases_text} | {row.total():.1f} |")
    return "\n".join(lines) + "\n"


def over_budget(
    budgets: Budgets, phases: Iterable[Phase], wall_seconds: float, slowness: float, *, whole: bool = False
) -> list[str]:
    """What took longer than it may, in words; empty where nothing did.

    `slowness`: how many times slower this machine is than the one that the budgets were measured on, at least 1.
    `whole`: the tests ran in their longest form: only the whole run has a budget.
    """
    by_file: Counter[str] = Counter()
    for test, seconds in own_seconds(phases).items():
        by_file[file_of(test)] += seconds
    found = [
        f"{file} took {seconds:.0f} s; its budget is {budgets.of(file):.0f} s"
        for file, seconds in sorted(by_file.items())
        if seconds > budgets.of(file) * slowness and not whole
    ]
    total_seconds = budgets.whole_total_seconds if whole else budgets.total_seconds
    if wall_seconds > total_seconds * slowness:
        found.append(f"the run took {wall_seconds:.0f} s; its budget is {total_seconds:.0f} s")
    return found
