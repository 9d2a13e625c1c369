"""The agent's record of the wall clock: what it keeps over restarts, and what it says when Asterisk's clock differs."""

from pathlib import Path

import pytest

from agent import clock as module
from agent.clock import CLOCK_NAME, NodeClock
from agent.state_file import AgentError

WALL_MS = 1_795_609_900_000


class Clocks:
    """Both of a machine's clocks."""

    def __init__(self) -> None:
        self.offset_ms, self.monotonic_ms = WALL_MS, 50_000

    def __call__(self) -> tuple[int, int]:
        return self.monotonic_ms + self.offset_ms, self.monotonic_ms

    def later(self, ms: int, step_ms: int = 0) -> None:
        self.monotonic_ms += ms
        self.offset_ms += step_ms


def test_a_step_while_the_agent_was_away_is_known_to_the_next_one(tmp_path: Path) -> None:
    clocks = Clocks()
    first = NodeClock(tmp_path, clocks)
    first.read()
    clocks.later(1_000, step_ms=30_000)
    first.read()
    clocks.later(5_000, step_ms=-90_000)
    known = NodeClock(tmp_path, clocks).read()
    assert [(one.offset_ms - WALL_MS, one.first_ms) for one in known.stretches] == [
        (0, 50_000), (30_000, 51_000), (-60_000, 56_000),
    ]  # fmt: skip


def test_how_long_a_stretch_lasted_is_stored_each_second(tmp_path: Path) -> None:
    clocks = Clocks()
    clock = NodeClock(tmp_path, clocks)
    for _ in range(130):
        clock.read()
        clocks.later(1_000)
    (stretch,) = NodeClock(tmp_path, Clocks())._clock.stretches
    assert stretch.last_ms == 50_000 + 129_000


def test_a_machine_that_was_started_anew_has_a_new_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NodeClock(tmp_path, Clocks()).read()
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(module, "_BOOT_ID", other)
    clocks = Clocks()
    clocks.monotonic_ms = 7
    assert [one.first_ms for one in NodeClock(tmp_path, clocks).read().stretches] == [7]


@pytest.mark.parametrize(
    ("text", "rule"), [("{", "truncated"), ('{"boot_id":"a","stretches":[],"doubts":[],"v":9}', "9")]
)
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / CLOCK_NAME).write_text(text)
    with pytest.raises(AgentError, match=rule):
        NodeClock(tmp_path, Clocks())


def test_asterisks_clock_that_moves_away_makes_a_doubt_and_a_late_answer_none(tmp_path: Path) -> None:
    clocks = Clocks()
    clock = NodeClock(tmp_path, clocks)
    clock.read()
    for late_ms in (0, 3_000):  # the manager's answer took three seconds: its time is between question and answer
        clocks.later(5_000)
        clock.asterisk_says(clocks()[0] - late_ms // 2, clocks()[1], clocks()[1] - late_ms)
    assert clock.read().doubts == ()
    clocks.later(5_000)
    clock.asterisk_says(clocks()[0] + 600_000, clocks()[1], clocks()[1])
    assert [tuple(one) for one in clock.read().doubts] == [(60_000 - 600_000, 65_000 + 600_000)]
    clocks.later(5_000)
    clock.asterisk_says(clocks()[0] + 600_100, clocks()[1], clocks()[1])  # as far away as before
    assert len(clock.read().doubts) == 1
    assert NodeClock(tmp_path, clocks).read().doubts == clock.read().doubts


def test_the_real_clocks_are_read_at_once(tmp_path: Path) -> None:
    clock = NodeClock(tmp_path)
    for _ in range(1_000):
        known = clock.read()
    assert len(known.stretches) == 1  # nobody sets this machine's clock
