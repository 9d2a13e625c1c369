"""The builder and the holder on the real PostgreSQL: what is built, and ahead of when; who builds; what is on disk."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from small_world import make_small_world

from router.build.builder import HAS_BUILDER, Builder, has_builder, settings_text, take_lock
from router.server.holder import SnapshotHolder
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.manifest import ARRAYS, generations, read_manifest, read_pointer
from runtime.connections import Postgres

pytestmark = pytest.mark.servers
NOW_MS = 1_795_609_900_000


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        make_small_world(connection)
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
        yield connection


@pytest.fixture
def settings(postgres_dsn: str, tmp_path: Path) -> SnapshotSettings:
    return SnapshotSettings(
        postgres=Postgres(dsn=SecretStr(postgres_dsn)), directory=tmp_path / "snapshot", debounce_seconds=0
    )


def price_later(connection: psycopg.Connection[Any], seconds: float, code: str = "44") -> None:
    connection.execute(
        "INSERT INTO prices (deck_id, code, price, effective_from)"
        " SELECT deck_id, %s, 0.07, to_timestamp(%s) FROM decks",
        (code, NOW_MS / 1000 + seconds),
    )


def prices(snapshot: store.Snapshot) -> list[int]:
    return sorted(int(price) for matrix in snapshot.matrices for deck in matrix.prices_e8 for price in deck)


def files(settings: SnapshotSettings) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (settings.directory / ARRAYS).iterdir()}


def test_a_change_of_anything_but_prices_writes_no_arrays(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    builder = Builder(settings, Clock())
    builder.step(connection)
    before, name = files(settings), read_pointer(settings.directory).name
    connection.execute("UPDATE peers SET max_concurrent = 7")
    builder.step(connection)
    assert files(settings) == before
    now = read_pointer(settings.directory).name
    assert now != name
    assert {peer.max_concurrent for peer in store.load(settings.directory, now).config.peers} == {7}


def test_a_builder_that_starts_again_builds_upon_what_is_there(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    Builder(settings, Clock()).step(connection)
    before = files(settings)
    connection.execute("UPDATE peers SET max_concurrent = 8")
    Builder(settings, Clock()).step(connection)
    assert files(settings) == before


def test_a_builder_does_not_build_upon_what_is_damaged(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    Builder(settings, Clock()).step(connection)
    for path in (settings.directory / ARRAYS).iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    Builder(settings, Clock()).step(connection)
    snapshot = store.load(settings.directory, read_pointer(settings.directory).name, checked=True)
    assert prices(snapshot) == [6_000_000]


async def test_what_comes_into_force_is_ready_before_its_moment(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    price_later(connection, 600)
    clock = Clock()
    builder, holder = Builder(settings, clock), SnapshotHolder(settings, clock)
    builder.step(connection)
    assert read_pointer(settings.directory).next_name == "", "ten minutes ahead nothing is made"
    assert builder.wait_seconds() <= 15
    clock.ms += 590_000
    builder.step(connection)
    await holder.look()
    assert read_pointer(settings.directory).next_from_ms == NOW_MS + 600_000
    assert holder.current is not None
    assert prices(holder.current) == [6_000_000]
    clock.ms = NOW_MS + 599_999
    await holder.look()
    assert prices(holder.current) == [6_000_000]
    clock.ms = NOW_MS + 600_000
    await holder.look()  # the builder has done nothing since
    assert prices(holder.current) == [7_000_000]
    builder.step(connection)
    assert read_pointer(settings.directory).next_name == ""
    name = holder.current.name
    await holder.look()
    assert holder.current.name == name
    cold = SnapshotHolder(settings, clock)
    await cold.look()
    assert cold.current is not None
    assert prices(cold.current) == [7_000_000]


async def test_a_change_before_the_moment_replaces_what_was_prepared(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    price_later(connection, 60)
    clock = Clock()
    builder, holder = Builder(settings, clock), SnapshotHolder(settings, clock)
    builder.step(connection)
    await holder.look()
    first = read_pointer(settings.directory).next_name
    connection.execute("UPDATE prices SET price = 0.09 WHERE price = 0.07")
    clock.ms += 1
    builder.step(connection)
    assert read_pointer(settings.directory).next_name not in ("", first)
    await holder.look()
    clock.ms = NOW_MS + 60_000
    await holder.look()
    assert holder.current is not None
    assert prices(holder.current) == [9_000_000]


async def test_a_torn_generation_is_never_taken(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    builder, holder = Builder(settings, Clock()), SnapshotHolder(settings, Clock())
    builder.step(connection)
    await holder.look()
    assert holder.current is not None
    good = holder.current.name
    connection.execute("UPDATE prices SET price = 0.08")
    builder.step(connection)
    name = read_pointer(settings.directory).name
    file = settings.directory / ARRAYS / read_manifest(settings.directory, name).matrices[0].file
    file.write_bytes(file.read_bytes()[:-1])
    await holder.look()
    assert holder.current.name == good
    cold = SnapshotHolder(settings, Clock())
    await cold.look()
    assert cold.current is not None
    assert cold.current.name == good, "a cold start takes the newest that is whole"
    (settings.directory / "generation").write_text("{")
    await holder.look()
    assert holder.current.name == good


def test_what_no_kept_generation_refers_to_is_removed(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    builder = Builder(settings, clock := Clock())
    for number in range(6):
        connection.execute("UPDATE prices SET price = %s", (number + 1,))
        clock.ms += 1
        builder.step(connection)
    kept = generations(settings.directory)
    assert len(kept) == 3
    used = {file for name in kept for file in read_manifest(settings.directory, name).files()}
    assert set(files(settings)) == used
    assert len(list((settings.directory / "decks").iterdir())) == 1


def test_another_database_with_the_same_numbers_is_read_anew(
    connection: psycopg.Connection[Any], settings: SnapshotSettings, postgres_dsn: str
) -> None:
    Builder(settings, Clock()).step(connection)
    connection.execute("UPDATE prices SET price = 0.01")
    # As a restore would leave it: the same version with other prices. Only the database's name tells.
    connection.execute("UPDATE decks SET version = 1")
    other = Builder(settings, Clock())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("router.build.builder.database_name", lambda _: "another")
        other.step(connection)
    snapshot = store.load(settings.directory, read_pointer(settings.directory).name)
    assert prices(snapshot) == [1_000_000]


def until(happened: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


HOLDER = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr
from router.server.holder import SnapshotHolder
from router.settings import SnapshotSettings
from runtime.connections import Postgres
settings = SnapshotSettings(postgres=Postgres(dsn=SecretStr(sys.argv[1])), directory=Path(sys.argv[2]))
asyncio.run(SnapshotHolder(settings).run())
"""


def test_of_two_routers_one_builds_and_the_other_takes_over(
    connection: psycopg.Connection[Any], settings: SnapshotSettings, postgres_dsn: str
) -> None:
    command = [sys.executable, "-c", HOLDER, postgres_dsn, str(settings.directory)]
    routers = [subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(2)]
    try:
        until(lambda: read_pointer(settings.directory).name)
        assert has_builder(settings.directory)
        second = subprocess.run(
            [sys.executable, "-m", "router.build.builder", str(os.getpid())],
            input=settings_text(settings), text=True, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert second.returncode == HAS_BUILDER
        for router in routers:
            name = read_pointer(settings.directory).name
            builders = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snapshot'"
                " AND datname = current_database()"
            ).fetchone()
            assert builders == (1,)
            if router is routers[0]:
                router.kill()
                router.wait()
                connection.execute("UPDATE peers SET max_concurrent = max_concurrent + 1")
                until(lambda before=name: read_pointer(settings.directory).name != before)
    finally:
        for router in routers:
            router.kill()
            router.wait()
    until(lambda: not has_builder(settings.directory))


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    assert not has_builder(tmp_path)
    assert take_lock(tmp_path, 0)
    assert has_builder(tmp_path)
    assert not take_lock(tmp_path, 0)


async def test_the_real_builder_prepares_and_the_holder_takes_it_at_its_moment(
    connection: psycopg.Connection[Any], settings: SnapshotSettings
) -> None:
    holder = SnapshotHolder(settings)
    running = asyncio.create_task(holder.run())
    try:
        await _until(lambda: holder.current is not None)
        moment_ms = time.time_ns() // 1_000_000 + 8_000
        price_later(connection, (moment_ms - NOW_MS) / 1000)
        await _until(lambda: read_pointer(settings.directory).next_name != "")
        pointer = read_pointer(settings.directory)
        assert pointer.next_from_ms == moment_ms
        assert holder.current is not None
        await _until(lambda: holder.current.name == pointer.next_name)
        assert time.time_ns() // 1_000_000 >= moment_ms
        assert prices(holder.current) == [7_000_000]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
