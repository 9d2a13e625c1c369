"""The agent's files: state whole or an error that says what to do, and one agent for one journal."""

import os
from pathlib import Path

import pytest

from agent.journal.marks import AgentState, Mark
from agent.state_file import AgentError, NodeLock, load_state, read_epoch, store_state


def test_state_is_what_was_stored(tmp_path: Path) -> None:
    assert load_state(tmp_path) == AgentState()
    state = AgentState(epoch=7, files=(Mark(1, "a", 2, "b"), Mark(3, "c", 4, "d")))
    store_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["agent.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch":"x"}', '{"v":2}'])
def test_a_state_that_cannot_be_read_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(AgentError, match=r"agent\.json"):
        load_state(tmp_path)


def test_a_second_agent_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    first = NodeLock(tmp_path / "sim1", "sim1")
    with pytest.raises(AgentError, match=rf"node sim1: another agent \(process {os.getpid()}\) reads"):
        NodeLock(tmp_path / "sim1", "sim1")
    first.release()
    NodeLock(tmp_path / "sim1", "sim1").release()


def test_the_epoch_is_read_or_refused(tmp_path: Path) -> None:
    assert read_epoch(tmp_path) == 0
    (tmp_path / "epoch").write_text("1795609861\n")
    assert read_epoch(tmp_path) == 1_795_609_861
    (tmp_path / "epoch").write_text("yesterday")
    with pytest.raises(AgentError, match="yesterday"):
        read_epoch(tmp_path)
