"""Where Asterisk comes from, and what is said where it cannot come."""

import platform
import shutil
from pathlib import Path

import pytest

from configuration.asterisk import fetch


@pytest.fixture(autouse=True)
def no_system_asterisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_system", lambda: None)


def test_what_was_fetched_whole_is_used_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "asterisk"
    place.mkdir()
    (place / "complete").write_text(fetch._STAMP)
    programs = fetch.installation(tmp_path)
    assert programs.root == place / "root"
    loader, *arguments = programs.command("sipp")
    assert loader == str(place / "root/usr/lib64/ld-linux-x86-64.so.2")
    assert arguments[-1] == str(place / "root/usr/bin/sipp")


@pytest.mark.parametrize(
    ("system", "machine", "said"),
    [("Darwin", "arm64", "this is Darwin on arm64"), ("Linux", "aarch64", "this is Linux on aarch64")],
)
def test_another_system_is_told_why_not(
    system: str, machine: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert said in (fetch.why_not() or "")
    with pytest.raises(fetch.FetchError, match=said):
        fetch.installation(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_linux_without_debians_tools_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "dpkg-deb" else f"/usr/bin/{name}")
    assert fetch.why_not() == "it comes as Debian's packages; this system has no dpkg-deb"


def test_half_a_fetch_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(fetch, "why_not", lambda: None)
    monkeypatch.setattr(fetch, "_fetch", begun.append)
    place = tmp_path / "asterisk"
    (place / "root").mkdir(parents=True)
    (place / "complete").write_text("another suite")
    said: list[str] = []
    fetch.installation(tmp_path, said.append)
    assert begun == [place]
    assert said == [f"fetching Asterisk and SIPp (once, into {place})"]
