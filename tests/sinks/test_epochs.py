"""Epochs: never one twice, kept before they are used."""

from pathlib import Path

import pytest

from sinks.epochs import EpochError, issue_epoch


def test_an_epoch_is_the_time_and_always_more_than_the_last(tmp_path: Path) -> None:
    assert issue_epoch(tmp_path, 1_795_609_861) == 1_795_609_861
    assert issue_epoch(tmp_path, 1_795_609_861) == 1_795_609_862
    assert issue_epoch(tmp_path, 5) == 1_795_609_863  # a clock that was set back
    assert issue_epoch(tmp_path, 1_795_700_000) == 1_795_700_000
    assert (tmp_path / "epoch").read_text() == "1795700000\n"


def test_an_epoch_that_cannot_be_read_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    (tmp_path / "epoch").write_text("what?")
    with pytest.raises(EpochError, match=r"epoch: 'what.' is no epoch"):
        issue_epoch(tmp_path, 1)
