"""What of the journal's files is read, and what is known to have been read."""

import os
from pathlib import Path

import pytest

from agent.journal import files
from agent.journal.files import Batch, look, read_batch
from agent.journal.marks import AgentState

LIVE = "Master.csv"


def _read(directory: Path, state: AgentState) -> Batch:
    return read_batch(directory, look(directory), state, 1 << 20)


def _write(path: Path, text: str, changed_ns: int) -> None:
    path.write_text(text)  # in its place: the inode stays
    os.utime(path, ns=(changed_ns, changed_ns))


def test_what_has_not_changed_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / f"{LIVE}.1", "old\n", 1_000)
    _write(tmp_path / LIVE, "one\ntwo\n", 2_000)
    first = _read(tmp_path, AgentState())
    assert [line.raw for line in first.lines] == [b"old\n", b"one\n", b"two\n"]
    monkeypatch.setattr(files, "_read_file", lambda *_: pytest.fail("opened"))
    again = _read(tmp_path, first.state)
    assert (again.lines, again.state) == ([], first.state)


def test_another_file_of_the_same_inode_and_size_is_read(tmp_path: Path) -> None:
    _write(tmp_path / LIVE, "one\ntwo\n", 1_000)
    first = _read(tmp_path, AgentState())
    _write(tmp_path / LIVE, "six\nten\n", 2_000)
    second = _read(tmp_path, first.state)
    assert [line.raw for line in second.lines] == [b"six\n", b"ten\n"]


def test_a_touched_file_is_looked_into_once_and_gives_nothing(tmp_path: Path) -> None:
    _write(tmp_path / LIVE, "one\n", 1_000)
    first = _read(tmp_path, AgentState())
    os.utime(tmp_path / LIVE, ns=(5_000, 5_000))
    second = _read(tmp_path, first.state)
    assert second.lines == []
    assert _read(tmp_path, second.state).state == second.state != first.state


def test_a_state_of_before_gives_nothing_twice(tmp_path: Path) -> None:
    """Its marks have no time of a change."""
    _write(tmp_path / LIVE, "one\n", 1_000)
    done = _read(tmp_path, AgentState()).state.files[0]
    before = type(done)(done.inode, done.head, done.offset, done.tail)
    assert _read(tmp_path, AgentState(files=(before,))).lines == []
