"""The home is closed to other users, whatever it was before; nothing outside of it is touched."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_files import open_to_others

from streamco.embedded.server import ServerError
from streamco.home import close_home, close_new_files, require_own


def make_home(home: Path) -> None:
    """As a home of before: the folders 0755, files 0644."""
    for name in ("run", "logs", "router/snapshot/7", "nodes/ast1/journal", "kafka/data/calls-0"):
        (home / name).mkdir(parents=True)
    for name in (
        "logs/router.log",
        "router/snapshot/7/decks",
        "nodes/ast1/journal/Master.csv",
        "kafka/data/calls-0/0.log",
    ):
        (home / name).write_text("text")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o711, 0o700, 0o1777, 0o750])
def test_a_home_of_before_is_closed_and_it_is_said_once(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    make_home(home)
    home.chmod(mode)
    (said,) = close_home(home)
    assert (
        said
        == f"{home} is closed to other users now: it had mode {mode:04o}, and 11 folders and 4 files in it were open"
    )
    assert home.stat().st_mode & 0o7777 == 0o700
    assert open_to_others(home) == []
    assert (home / "nodes/ast1/journal/Master.csv").read_text() == "text"
    assert close_home(home) == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 0o777)), max_size=8))
def test_whatever_the_modes_were_nobody_else_reaches_anything(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, int]]
) -> None:
    home = path = tmp_path_factory.mktemp("home")
    made = []
    for name, mode in names:
        path /= name
        path.mkdir()
        (path / "file").write_text("text")
        (path / "file").chmod(mode)
        made.append((path, mode | 0o700))
    for folder, mode in reversed(made):
        folder.chmod(mode)
    close_home(home)
    # A file is reached where every folder above it lets others pass.
    assert home.stat().st_mode & 0o077 == 0
    closed_above = False
    for folder, mode in made:
        closed_above = closed_above or mode & 0o077 == 0
        assert closed_above or folder.stat().st_mode & 0o077 == 0
        assert folder.stat().st_mode & 0o700 == 0o700


def test_links_and_what_they_lead_to_are_left_alone(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    make_home(home)
    outside.mkdir()
    (outside / "file").write_text("another's")
    for path, mode in ((outside, 0o755), (outside / "file", 0o644)):
        path.chmod(mode)
    (home / "folder").symlink_to(outside)
    (home / "file").symlink_to(outside / "file")
    (home / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "socket"))
        os.mkfifo(home / "fifo")
        (home / "fifo").chmod(0o666)
        close_home(home)
    assert (outside.stat().st_mode & 0o777, (outside / "file").stat().st_mode & 0o777) == (0o755, 0o644)
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_may_be_a_link_and_must_be_there(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    (tmp_path / "link").symlink_to("home")
    assert len(close_home(tmp_path / "link")) == 1
    assert open_to_others(tmp_path / "home") == []
    with pytest.raises(FileNotFoundError):
        close_home(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        close_home(tmp_path / "file")


def test_what_is_made_later_is_closed_from_the_first(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        close_new_files()
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").touch()
    finally:
        os.umask(before)
    assert open_to_others(tmp_path / "folder") == []


def test_a_home_of_another_users_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root could; but who owns the folder could put another file in the place of each of ours."""
    require_own(tmp_path)
    require_own(tmp_path / "none yet")
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ServerError, match=f"belongs to user {owner}, and this is user {owner + 1}: start it as"):
        require_own(tmp_path)
