"""The builder: a process of its own that turns the configuration in PostgreSQL into snapshots, so that no call waits.

Started by a router as `python -m router.build.builder`, settings as JSON on its standard input; of all routers that
share a directory one has a builder. It builds when NOTIFY announces a new generation, and ahead of the moment at which
a price comes into force. PostgreSQL away: it tries again; the routers go on with the snapshot that they have. A
configuration that cannot be built leaves the last good one live.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import structlog

from router.build.assemble import Assembly
from router.build.decks import DeckFiles, DecksAt, database_name, read_decks
from router.build.rates import next_rate_ms, rates_at
from router.build.reader import read_config
from router.settings import SnapshotSettings
from router.snapshot.arrays import map_arrays
from router.snapshot.config import Config
from router.snapshot.errors import SnapshotError
from router.snapshot.manifest import (
    ARRAYS,
    Manifest,
    Pointer,
    clean_up,
    generations,
    read_manifest,
    write_generation,
    write_pointer,
)
from router.snapshot.pools import write_pools
from runtime.connections import Postgres
from runtime.parent import end_with_parent
from schemas.channels import CONFIGURATION

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 15.0  # a generation whose NOTIFY was missed is found after this
PREPARE_SECONDS: Final = 120.0  # ahead of its moment the next snapshot is built: more than any build takes
BUILDING: Final = "building"
LOCK: Final = "builder.lock"
HAS_BUILDER: Final = 75  # the exit code where another builder is at work in the directory
_RETRY_SECONDS: Final = 1.0
_LOCK_SECONDS: Final = 2.0  # a builder that has just been ended may still hold it
_SAY_SECONDS: Final = 1.0


class Builder:
    """Builds what is in force, and what comes into force next: that is ready before its moment."""

    def __init__(self, settings: SnapshotSettings, clock_ms: Callable[[], int]) -> None:
        """Nothing is read yet. A generation on disk is built upon if it is whole."""
        self._settings = settings
        self._directory = settings.directory
        self._clock_ms = clock_ms
        self._files: DeckFiles | None = None
        self._before: Manifest | None = None
        self._pointer = Pointer()
        self._said_at = 0.0
        self.built: Config | None = None
        self.prepared: Config | None = None

    def step(self, connection: psycopg.Connection[Any]) -> None:
        """Build what has changed since, if anything has. Raises SnapshotError, psycopg.Error."""
        row = connection.execute("SELECT generation FROM configuration_generation").fetchone()
        now_ms = self._clock_ms()
        changed = self.built is None or row is None or row[0] != self.built.generation
        if not changed and self.prepared is not None and now_ms >= self._pointer.next_from_ms:
            self._publish(Pointer(self._pointer.next_name))
            self.built, self.prepared = self.prepared, None
        elif changed or self._due(now_ms):
            self._build(connection, now_ms)
        if self.built is not None and self.prepared is None:
            boundary_ms = self.built.next_change_at_ms
            if boundary_ms is not None and 0 < boundary_ms - self._clock_ms() <= PREPARE_SECONDS * 1000:
                self._prepare(self.built, boundary_ms)

    def wait_seconds(self) -> float:
        """How long nothing comes due by itself."""
        due_ms = self.built.next_change_at_ms if self.built is not None else None
        if due_ms is None:
            return LOOK_SECONDS
        early = 0 if self.prepared is not None else PREPARE_SECONDS
        return max(0.01, min(LOOK_SECONDS, (due_ms - self._clock_ms()) / 1000 - early))

    def _due(self, now_ms: int) -> bool:
        due_ms = self.built.next_change_at_ms if self.built is not None else None
        return due_ms is not None and now_ms >= due_ms

    def _build(self, connection: psycopg.Connection[Any], now_ms: int) -> None:
        """Read what is new in one transaction, make what is new, publish it."""
        started = time.perf_counter()
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if self._files is None:
                self._files = DeckFiles(self._directory / "decks", database_name(connection))
                self._adopt()
            config = read_config(connection, now_ms)
            read_decks(connection, config.decks, self._files, self._reading)
            write_pools(connection, self._directory, config.numbers.pools)
        seconds = time.perf_counter() - started
        config, name = self._assemble(config, now_ms)
        self._publish(Pointer(name))
        self.built, self.prepared = config, None
        self._files.keep_only(config.decks)
        log.info(
            "snapshot built",
            name=name,
            generation=config.generation,
            seconds=round(time.perf_counter() - started, 3),
            reading_seconds=round(seconds, 3),
            peers=len(config.peers),
            decks=len(config.decks),
        )

    def _prepare(self, built: Config, boundary_ms: int) -> None:
        """What comes into force at a moment, built ahead: the routers take it then. A change before it discards it."""
        config, name = self._assemble(built, boundary_ms)
        self._publish(Pointer(self._pointer.name, name, boundary_ms))
        self.prepared = config
        log.info("next snapshot prepared", name=name, from_ms=boundary_ms)

    def _assemble(self, config: Config, at_ms: int) -> tuple[Config, str]:
        assert self._files is not None  # noqa: S101 (for the type checker: decks were read before)
        decks = DecksAt(self._files, dict(config.decks), at_ms)
        rates = rates_at(config, at_ms)
        assembly = Assembly(
            self._directory, decks, self._settings.expected_call_seconds, self._before, rates, progress=self._making
        )
        self._before = assembly.run(config)
        moments = [one for one in (decks.next_change_ms(), next_rate_ms(config, at_ms)) if one is not None]
        config = msgspec.structs.replace(
            config, taken_at_ms=at_ms, rates=rates, next_change_at_ms=min(moments, default=None)
        )
        name = f"g{config.generation:012d}-{at_ms}"
        write_generation(self._directory, name, config, self._before)
        return config, name

    def _publish(self, pointer: Pointer) -> None:
        write_pointer(self._directory, pointer)
        self._pointer = pointer
        clean_up(self._directory)
        (self._directory / BUILDING).unlink(missing_ok=True)

    def _adopt(self) -> None:
        """Build upon the newest generation on disk of which every file is whole."""
        for name in reversed(generations(self._directory)):
            try:
                manifest = read_manifest(self._directory, name)
                for file in manifest.files():
                    map_arrays(self._directory / ARRAYS / file, checked=True)
            except (SnapshotError, OSError) as error:
                log.warning("a generation on disk is not built upon", name=name, error=str(error))
            else:
                self._before = manifest
                return

    def _reading(self, done: int, of: int, rows: int) -> None:
        self._say(f"reading deck {done + 1} of {of}, {rows} rows")

    def _making(self, what: str, done: int, of: int) -> None:
        self._say(f"making {what} {done + 1} of {of}")

    def _say(self, what: str) -> None:
        """Progress, once a second: to the log, and to the file that the routers' beats quote."""
        now = time.monotonic()
        if now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            (self._directory / BUILDING).write_text(what)
            log.info("building a snapshot", progress=what)


def run(settings: SnapshotSettings) -> None:
    """Build for ever, until the process is ended."""
    builder = Builder(settings, lambda: time.time_ns() // 1_000_000)
    while True:
        try:
            with psycopg.connect(
                settings.postgres.dsn.get_secret_value(),
                autocommit=True,
                connect_timeout=5,
                application_name="snapshot",
            ) as connection:
                connection.execute(f"LISTEN {CONFIGURATION}".encode())
                while True:
                    builder.step(connection)
                    # A large change makes hundreds of notifications in one packet, whatever stop_after says: one pause.
                    if list(connection.notifies(timeout=builder.wait_seconds(), stop_after=1)):
                        time.sleep(settings.debounce_seconds)
        except psycopg.OperationalError as error:
            log.warning("PostgreSQL away: the last snapshot stays", error=str(error))
            time.sleep(_RETRY_SECONDS)
        except (SnapshotError, psycopg.DatabaseError, OSError) as error:
            log.error("configuration cannot be built: the last good snapshot stays", error=str(error))  # noqa: TRY400
            time.sleep(_RETRY_SECONDS)


def settings_text(settings: SnapshotSettings) -> str:
    """The settings as the JSON that `main` reads: the secret travels by a pipe, not by the argument list."""
    values = settings.model_dump(mode="json", exclude={"postgres"})
    return msgspec.json.encode({**values, "dsn": settings.postgres.dsn.get_secret_value()}).decode()


def main(parent_pid: int) -> None:
    """Entry of the process: settings from standard input; ends with its parent, also one that has ended already."""
    end_with_parent(parent_pid)
    structlog.configure(
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
    )
    values = msgspec.json.decode(sys.stdin.read())
    dsn = values.pop("dsn")
    settings = SnapshotSettings(postgres=Postgres(dsn=dsn), **values)
    if not take_lock(settings.directory, _LOCK_SECONDS):
        sys.exit(HAS_BUILDER)
    run(settings)


def take_lock(directory: Path, seconds: float) -> bool:
    """Become the one builder of a directory; until this process ends, however it ends. False: another is."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(handle)
                return False
            time.sleep(0.05)
        else:
            return True


def has_builder(directory: Path) -> bool:
    """Whether a builder is at work in the directory."""
    try:
        handle = os.open(directory / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]))
