"""The last lines of a log."""

from pathlib import Path

import pytest

from streamco.log_view import _rest, show_logs


def test_the_last_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    show_logs([path], 3, follow=False)
    assert capsys.readouterr().out == "line 97\nline 98\nline 99\n"
    show_logs([path], 0, follow=False)
    assert capsys.readouterr().out == ""


def test_what_comes_later_and_a_file_that_was_emptied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.log"
    path.write_text("old\n")
    offset = _rest(path, 4)
    assert (offset, capsys.readouterr().out) == (4, "")
    path.write_text("old\nnew\n")
    assert _rest(path, offset) == 8
    assert capsys.readouterr().out == "new\n"
    path.write_text("x\n")
    assert _rest(path, 8) == 2
    assert capsys.readouterr().out == "x\n"
