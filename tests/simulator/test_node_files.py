"""The journal's lines are whole, and a torn one swallows nothing after it."""

from pathlib import Path

import pytest

from simulator.node_files import Journal, NodeFilesError


def test_lines_are_appended_over_restarts(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        journal = Journal(tmp_path)
        journal.write(text)
        journal.close()
    assert (tmp_path / "journal" / "Master.csv").read_bytes() == b"one\ntwo\n"


def test_a_torn_line_is_ended_before_the_next_start_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "Master.csv"
    path.parent.mkdir()
    path.write_bytes(b"one\nto")
    journal = Journal(tmp_path)
    journal.write(b"three\n")
    journal.close()
    assert path.read_bytes() == b"one\nto\nthree\n"


def test_a_journal_that_was_renamed_is_left_and_a_new_one_made(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(b"one\n")
    journal.path.rename(journal.path.with_name("Master.csv.1"))
    journal.write(b"two\n")
    journal.write(b"three\n")
    journal.path.rename(journal.path.with_name("Master.csv.2"))
    journal.path.write_bytes(b"another's\n")
    journal.write(b"four\n")
    journal.close()
    contents = {path.name: path.read_bytes() for path in journal.path.parent.iterdir()}
    assert contents == {
        "Master.csv.1": b"one\n", "Master.csv.2": b"two\nthree\n", "Master.csv": b"another's\nfour\n"
    }  # fmt: skip


def test_a_disk_that_takes_less_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    monkeypatch.setattr("simulator.node_files.os.write", lambda descriptor, line: 2)
    with pytest.raises(NodeFilesError, match="2 of 4 bytes"):
        journal.write(b"one\n")
    journal.close()
