"""The analysts' logins: passwords as hashes only, for us alone, and every wrong word is an error that says which."""

import json
import os
import threading
from pathlib import Path

import pytest

from streamco.clickhouse_access import register as module
from streamco.clickhouse_access.register import Register, RegisterError, hash_password, matches

NOBODY: frozenset[str] = frozenset()


def test_a_password_is_its_hash_only() -> None:
    hashed = hash_password("the right one")
    assert "right" not in hashed
    assert matches("the right one", hashed)
    assert not matches("the right one ", hashed)
    assert not matches("", hashed)
    assert hash_password("the right one") != hashed


def test_logins_are_made_renewed_disabled_and_removed(tmp_path: Path) -> None:
    register = Register(tmp_path / "clickhouse")
    assert register.read() == {}
    first = register.add("ada", "2026-07-01T12:00:00+00:00", NOBODY)
    second = register.add("bert.o", "2026-07-02T12:00:00+00:00", NOBODY)
    assert first != second
    assert len(first) >= 40
    assert matches(first, register.read()["ada"].hash)
    renewed = register.renew("ada")
    assert renewed != first
    assert not matches(first, register.read()["ada"].hash)
    register.enable("ada", enabled=False)
    assert [one.enabled for one in register.read().values()] == [False, True]
    register.enable("ada", enabled=True)
    assert matches(renewed, register.read()["ada"].hash)
    register.remove("bert.o")
    assert list(register.read()) == ["ada"]


def test_the_file_is_ours_alone_and_holds_no_password(tmp_path: Path) -> None:
    register = Register(tmp_path / "clickhouse")
    password = register.add("ada", "now", NOBODY)
    assert register.path.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in register.path.parent.iterdir()} == {0o600}
    assert password not in register.path.read_text()
    register.path.chmod(0o640)
    with pytest.raises(RegisterError, match="0600"):
        register.read()


@pytest.mark.parametrize("login", ["", "Ada", "1a", "a b", "a/b", "a`b", "ä", "a" * 33, "-a", "ada\n"])
def test_a_name_is_plain(tmp_path: Path, login: str) -> None:
    with pytest.raises(RegisterError, match="must be of the form"):
        Register(tmp_path).add(login, "now", NOBODY)


def test_no_name_twice_and_none_of_our_processes(tmp_path: Path) -> None:
    register = Register(tmp_path)
    register.add("ada", "now", NOBODY)
    with pytest.raises(RegisterError, match="'ada': there is one already"):
        register.add("ada", "now", NOBODY)
    with pytest.raises(RegisterError, match="'streamco': must not be a name of Streamco's own"):
        register.add("streamco", "now", frozenset({"streamco"}))
    for act in (register.renew, register.remove, lambda name: register.enable(name, enabled=False)):
        with pytest.raises(RegisterError, match="'bob': there is none"):
            act("bob")


def test_what_is_no_register_is_said(tmp_path: Path) -> None:
    register = Register(tmp_path)
    hashed = hash_password("hidden")
    good: dict[str, object] = {"login": "ada", "hash": hashed, "created_at": "now"}
    bad = [{"login": 1}, {"login": "Ada"}, {"hash": None}, {"hash": hashed[:-9]}, {"enabled": "no"}, {"created_at": 1}]
    written = [json.dumps({"analysts": [good | one]}) for one in bad]
    for text in ("{", "[]", '{"analysts": [{"login": "ada"}]}', '{"analysts": [{"nothing": 1}]}', *written):
        register.path.write_text(text)
        register.path.chmod(0o600)
        with pytest.raises(RegisterError, match="is no register"):
            register.read()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    register = Register(tmp_path)
    os.mkfifo(register.path, 0o600)
    with pytest.raises(RegisterError, match="must be a file"):
        register.read()


def test_there_is_a_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    register = Register(tmp_path)
    for login in ("a", "b"):
        register.add(login, "now", NOBODY)
    with pytest.raises(RegisterError, match="there are 2 logins already"):
        register.add("c", "now", NOBODY)


def test_several_who_add_at_once_lose_none(tmp_path: Path) -> None:
    threads = [threading.Thread(target=Register(tmp_path).add, args=(f"a{n}", "now", NOBODY)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Register(tmp_path).read()) == [f"a{n}" for n in range(6)]
    assert len(json.loads((tmp_path / "analysts.json").read_text())["analysts"]) == 6
