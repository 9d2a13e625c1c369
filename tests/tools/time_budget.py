"""What a run of the tests cost, at its end; with --time-budget a file over its budget fails the run.

With pytest-xdist it also says who runs what: files that share an expensive fixture go to one worker, the files that
take longest begin first.
"""

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from budgets import Budgets, Phase, budgets_of_the_suite, file_of, over_budget, own_seconds, time_table
from xdist.scheduler import LoadScopeScheduling

SLOWEST: Final = 10
_LOOPS: Final = 500_000
_LOOP_SECONDS: Final = 0.030  # of so many, on the machine that the budgets were measured on
_PROCESSORS: Final = 2  # of that machine
_MOST_SLOWNESS: Final = 3.0  # a busy second before the first test is no reason for a run without any bound


def measured_slowness() -> float:
    """How many times slower this machine is just now than the one of the budgets: from 1 to _MOST_SLOWNESS."""

    def once() -> float:
        began = time.perf_counter()
        total = 0
        for number in range(_LOOPS):
            total += number
        return time.perf_counter() - began

    processors = min(len(os.sched_getaffinity(0)), _PROCESSORS)
    slowness = max(1.0, min(once() for _ in range(5)) / _LOOP_SECONDS) * _PROCESSORS / processors
    return min(slowness, _MOST_SLOWNESS)


class FilesByCost(LoadScopeScheduling):
    """Hands out whole groups of files, in the order of the collection."""

    budgets: Budgets

    def _split_scope(self, nodeid: str) -> str:
        return self.budgets.group(file_of(nodeid))


class TimeBudget:
    """The plugin. In an xdist worker it measures and orders; in the one process or the controller it reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.budgets = budgets_of_the_suite()
        self.phases: list[Phase] = []
        self.slowness = 1.0
        self._began = time.monotonic()
        self._shared_seconds = 0.0
        self._sharing = 0
        self._over: list[str] = []

    # ---- where tests run

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The dearest groups first, where several workers share them."""
        if hasattr(self.config, "workerinput"):
            groups = {file: self.budgets.group(file) for file in {file_of(item.nodeid) for item in items}}
            items.sort(key=lambda item: (-self.budgets.cost(group := groups[file_of(item.nodeid)]), group))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """What a session's fixture takes is no test's own."""
        if fixturedef.scope != "session":
            return (yield)
        began = time.perf_counter()
        self._sharing += 1
        try:
            return (yield)
        finally:
            self._sharing -= 1
            if self._sharing == 0:
                self._shared_seconds += time.perf_counter() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Generator[None, object, object]:
        """With the last test everything ends that any test began."""
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            if nextitem is None:
                self._shared_seconds += time.perf_counter() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The report carries it to the controller."""
        report = yield
        report.shared_seconds = self._shared_seconds
        self._shared_seconds = 0.0
        return report

    # ---- where they are reported

    def pytest_sessionstart(self) -> None:
        """Measure before anything else runs."""
        if self.config.getoption("time_budget") and not hasattr(self.config, "workerinput"):
            self.slowness = measured_slowness()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> FilesByCost:
        """Our order, not that of the number of tests."""
        config.option.loadscopereorder = False
        scheduler = FilesByCost(config, log)
        scheduler.budgets = self.budgets
        return scheduler

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect."""
        self.phases.append(
            Phase(report.nodeid, report.when or "", report.duration, getattr(report, "shared_seconds", 0.0))
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail what is over its budget, where that was asked for."""
        if not self.config.getoption("time_budget") or hasattr(self.config, "workerinput"):
            return
        wall_seconds, whole = time.monotonic() - self._began, self.config.getoption("whole")
        self._over = over_budget(self.budgets, self.phases, wall_seconds, self.slowness, whole=whole)
        if self._over and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The slowest tests, the whole, and what is over its budget."""
        if place := self.config.getoption("time_table"):
            Path(place).write_text(time_table(self.phases))
        if self.config.getoption("time_budget"):
            for line in self._summary():
                terminalreporter.write_line(line)
            for line in self._over:
                terminalreporter.write_line(f"over budget: {line}", red=True)

    def _summary(self) -> Iterator[str]:
        own = own_seconds(self.phases)
        yield f"the {SLOWEST} slowest tests, with set-up and tear-down:"
        for test, seconds in sorted(own.items(), key=lambda pair: -pair[1])[:SLOWEST]:
            yield f"{seconds:8.1f} s  {test}"
        shared = sum(phase.shared_seconds for phase in self.phases)
        yield (
            f"{time.monotonic() - self._began:.0f} s by the clock; tests {sum(own.values()):.0f} s, what they share"
            f" {shared:.0f} s; this machine is {self.slowness:.2f} times as slow as that of the budgets"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """--time-budget and --time-table."""
    text = "show what is slow, and fail where a file is over its budget in tests/budgets.toml"
    parser.addoption("--time-budget", action="store_true", help=text)
    parser.addoption("--time-table", metavar="FILE", help="write the time of each test file by phase, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    config.pluginmanager.register(TimeBudget(config), "streamco-time-budget")
