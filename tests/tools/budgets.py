"""How long each test file may take, as tests/budgets.toml has it: pure, so that the guard itself can be tested."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = Path(__file__).parents[1] / "budgets.toml"


class Phase(NamedTuple):
    """One phase of one test: its set-up, its call or its tear-down."""

    test: str  # pytest's node id
    seconds: float
    shared_seconds: float = 0.0  # of these, what a fixture of the whole session took: no test's own

    @property
    def file(self) -> str:
        """The test's file."""
        return file_of(self.test)


@dataclass(frozen=True)
class Budgets:
    """tests/budgets.toml."""

    total_seconds: float
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


def read_budgets(text: str) -> Budgets:
    """Parse it. Raises ValueError where it contradicts itself."""
    document = tomllib.loads(text)
    together = {name: tuple(files) for name, files in document.get("together", {}).items()}
    placed = [file for files in together.values() for file in files]
    if twice := {file for file in placed if placed.count(file) > 1}:
        raise ValueError(f"budgets.toml: [together] has {sorted(twice)} in two groups")
    return Budgets(
        total_seconds=float(document["total_seconds"]),
        default_seconds=float(document["default_seconds"]),
        files={file: float(seconds) for file, seconds in document.get("files", {}).items()},
        together=together,
    )


def own_seconds(phases: Iterable[Phase]) -> dict[str, float]:
    """Seconds of each test, without what it shares with others."""
    seconds: dict[str, float] = {}
    for phase in phases:
        seconds[phase.test] = seconds.get(phase.test, 0.0) + max(0.0, phase.seconds - phase.shared_seconds)
    return seconds


def over_budget(budgets: Budgets, phases: Iterable[Phase], wall_seconds: float, slowness: float) -> list[str]:
    """What took longer than it may, in words; empty where nothing did.

    `slowness`: how many times slower this machine is than the one that the budgets were measured on, at least 1.
    """
    by_file: dict[str, float] = {}
    for test, seconds in own_seconds(phases).items():
        by_file[file_of(test)] = by_file.get(file_of(test), 0.0) + seconds
    found = [
        f"{file} took {seconds:.0f} s; its budget is {budgets.of(file):.0f} s"
        for file, seconds in sorted(by_file.items())
        if seconds > budgets.of(file) * slowness
    ]
    if wall_seconds > budgets.total_seconds * slowness:
        found.append(f"the whole run took {wall_seconds:.0f} s; its budget is {budgets.total_seconds:.0f} s")
    return found
