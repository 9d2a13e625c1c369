"""Jars: only what has the locked sum gets into the cache, however the download goes. No network here."""

import hashlib
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest

from streamco.embedded.jars import Jar, fetch, read_lock
from streamco.embedded.java import find_java, version_of
from streamco.embedded.server import ServerError


def content(jar: Jar) -> bytes:
    return f"the jar {jar.artifact}".encode()


def jar(name: str) -> Jar:
    return Jar("org.example", name, "1.0", hashlib.sha256(f"the jar {name}".encode()).hexdigest())


JARS = [jar(name) for name in ("one", "two", "three")]


def good(wanted: Jar, directory: Path) -> Path:
    got = directory / "download"
    got.write_bytes(content(wanted))
    return got


def test_the_lock_is_read_whole() -> None:
    jars = read_lock((files("streamco.embedded") / "kafka-jars.lock").read_text())
    assert len(jars) == len({one.file_name for one in jars}) == 45
    assert all(len(one.sha256) == 64 for one in jars)
    assert "kafka_2.13-4.4.0.jar" in {one.file_name for one in jars}


def test_what_is_missing_or_damaged_is_fetched_again(tmp_path: Path) -> None:
    told: list[str] = []
    fetch(JARS, tmp_path / "cache", told.append, good)
    assert told == [f"fetching 3 jars of Apache Kafka (once, into {tmp_path / 'cache'})"]
    fetch(JARS, tmp_path / "cache", told.append, good)
    assert len(told) == 1
    (tmp_path / "cache" / "two-1.0.jar").write_bytes(b"cut sho")
    fetch(JARS, tmp_path / "cache", told.append, good)
    assert told[1].startswith("fetching 1 jars")
    assert (tmp_path / "cache" / "two-1.0.jar").read_bytes() == content(JARS[1])


def test_a_wrong_sum_is_refused_and_never_kept(tmp_path: Path) -> None:
    def forged(wanted: Jar, directory: Path) -> Path:
        got = good(wanted, directory)
        if wanted.artifact == "two":
            got.write_bytes(b"something else")
        return got

    with pytest.raises(ServerError, match=r"org\.example:two:1\.0: its SHA-256 is .*, the lock says"):
        fetch(JARS, tmp_path, print, forged)
    assert not (tmp_path / "two-1.0.jar").exists()


def test_a_download_that_fails_is_tried_again_and_then_explained(tmp_path: Path) -> None:
    failures = iter([OSError("line is down")])

    def once_down(wanted: Jar, directory: Path) -> Path:
        for failure in failures:
            raise failure
        return good(wanted, directory)

    fetch(JARS[:1], tmp_path, print, once_down)

    def down(wanted: Jar, directory: Path) -> Path:
        raise OSError("line is down")

    with pytest.raises(ServerError, match=r"OSError: line is down\. Apache Kafka is fetched once.*STREAMCO_KAFKA"):
        fetch(JARS, tmp_path, print, down)


def test_two_at_once_fetch_each_jar_once(tmp_path: Path) -> None:
    fetched: list[str] = []
    told: list[str] = []
    begun = threading.Event()

    def slow(wanted: Jar, directory: Path) -> Path:
        begun.set()
        time.sleep(0.1)
        fetched.append(wanted.artifact)
        return good(wanted, directory)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, JARS, tmp_path, told.append, slow)
        begun.wait(5)
        second = pool.submit(fetch, JARS, tmp_path, told.append, slow)
        first.result()
        second.result()
    assert sorted(fetched) == ["one", "three", "two"]
    assert "another process is fetching Apache Kafka: waiting for it" in told


def _hold_for_ever(cache: Path, begun: "multiprocessing.synchronize.Event") -> None:
    def never(wanted: Jar, directory: Path) -> Path:
        (directory / "half").write_bytes(b"ha")
        begun.set()
        time.sleep(60)
        raise AssertionError

    fetch(JARS, cache, print, never)


def test_a_fetch_that_was_killed_hinders_nobody(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    killed = context.Process(target=_hold_for_ever, args=(tmp_path, begun))
    killed.start()
    assert begun.wait(30)
    killed.kill()
    killed.join()
    fetch(JARS, tmp_path, print, good)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix != ".lock") == [
        "one-1.0.jar",
        "three-1.0.jar",
        "two-1.0.jar",
    ]


def fake_java(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)
    return path


def test_a_java_tells_its_version(tmp_path: Path) -> None:
    assert version_of(fake_java(tmp_path / "java", 'openjdk version "21.0.2" 2024-01-16')) == 21
    assert version_of(tmp_path / "nothing") is None


def test_an_old_java_is_passed_over_when_found_and_refused_when_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    old = fake_java(tmp_path / "bin" / "java", 'openjdk version "11.0.2"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + ":/bin")
    find_java.cache_clear()
    try:
        found = find_java()
        assert (found.binary.name, found.major >= 17) == ("java", True)
        assert found.binary != old
        with pytest.raises(ServerError, match="is not a Java of at least 17"):
            find_java(old)
    finally:
        find_java.cache_clear()
