"""The snapshot of a moment: the routers' own where it is theirs, else one built from PostgreSQL by the same builder.

What was built stays in a directory of its own for the next question: the newest three, as everywhere. A moment that one
of them covers (the same generation, and no price comes into force between) needs no building.
"""

import contextlib
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import psycopg
import structlog
from pydantic import Field, SecretStr

from router.build.builder import settings_text
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.errors import SnapshotError
from router.snapshot.store import Snapshot
from runtime.connections import Frozen

log = structlog.get_logger(__name__)
BUILDS_AT_ONCE: Final = 1  # in this process; of several processes one builds, the others wait for its lock
_LOOK_SECONDS: Final = 0.05
_CONNECT_SECONDS: Final = 3
_ROOT: Final = Path(__file__).resolve().parents[2]
_Source = Literal["live", "built"]


class CheckSettings(Frozen):
    """`live`: what this machine's routers are told; on a machine without routers its directory is empty.

    `directory`: where snapshots of other moments are built. A build may take `build_seconds` at most; another question
    that needs one waits for it `wait_seconds` at most. `lookup_tokens`: as the routers are told them.
    """

    live: SnapshotSettings
    directory: Path
    build_seconds: Annotated[float, Field(gt=0, le=600)] = 120.0
    wait_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    lookup_tokens: dict[str, SecretStr] = Field(default_factory=dict)


class SnapshotAwayError(Exception):
    """There is no snapshot of the moment asked, and none can be built now. The text is for the person who asks."""


class At(NamedTuple):
    """A snapshot and where it came from."""

    snapshot: Snapshot
    source: _Source


class MomentSnapshots:
    """Safe to use from every thread, and from several processes on one directory."""

    def __init__(self, settings: CheckSettings) -> None:
        """Nothing is read yet."""
        self._settings = settings
        self._built = SnapshotSettings(
            postgres=settings.live.postgres,
            directory=settings.directory,
            expected_call_seconds=settings.live.expected_call_seconds,
        )
        self._guard = threading.Lock()
        self._building = threading.BoundedSemaphore(BUILDS_AT_ONCE)
        self._live: Snapshot | None = None
        self._last: Snapshot | None = None  # the last one that was built, so that it is not mapped again

    def at(self, at_ms: int | None, now_ms: int) -> At:
        """The snapshot of a moment; None is now. Raises SnapshotAwayError."""
        live = self.live(now_ms)
        if live is not None and (at_ms is None or _covers(live, at_ms)):
            return At(live, "live")
        return At(self._of_moment(now_ms if at_ms is None else at_ms), "built")

    def live(self, now_ms: int) -> Snapshot | None:
        """The routers' own newest snapshot, if there is one on this machine."""
        with self._guard:
            directory = self._settings.live.directory
            name = ""
            with contextlib.suppress(OSError, SnapshotError):
                name = store.newest(directory, now_ms)
            if name and (self._live is None or self._live.name != name):
                # The builder may have removed it just now: then the one before is as good for this moment.
                with contextlib.suppress(OSError, SnapshotError, ValueError, msgspec.MsgspecError):
                    self._live = store.load(directory, name)
            return self._live if name else None

    def _of_moment(self, at_ms: int) -> Snapshot:
        if not self._building.acquire(timeout=self._settings.wait_seconds):
            raise SnapshotAwayError("another question's snapshot is being built: ask again in a moment")
        try:
            generation = self._generation()
            if self._last is None or not _fits(self._last, generation, at_ms):
                self._last = self._find_or_build(generation, at_ms)
            return self._last
        finally:
            self._building.release()

    def _generation(self) -> int:
        try:
            with psycopg.connect(
                self._settings.live.postgres.dsn.get_secret_value(), connect_timeout=_CONNECT_SECONDS
            ) as connection:
                row = connection.execute("SELECT generation FROM configuration_generation").fetchone()
        except psycopg.Error as error:
            log.warning("a moment's snapshot cannot be built", error=str(error)[:200])
            raise SnapshotAwayError(
                "PostgreSQL does not answer: only the routers' own snapshot could be asked, not one of this moment"
            ) from error
        return int(row[0]) if row else 0

    def _find_or_build(self, generation: int, at_ms: int) -> Snapshot:
        directory = self._settings.directory
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / "lock", self._settings.wait_seconds):
            for path in directory.glob("g*-*"):
                with contextlib.suppress(OSError, SnapshotError, ValueError, msgspec.MsgspecError):
                    found = store.load(directory, path.name)
                    if _fits(found, generation, at_ms):
                        return found
            self._build(at_ms)
            try:
                return store.load(directory, store.newest(directory, at_ms))
            except (OSError, SnapshotError, ValueError, msgspec.MsgspecError) as error:
                raise SnapshotAwayError(f"the snapshot of this moment cannot be read: {error}") from error

    def _build(self, at_ms: int) -> None:
        """By a process of its own: its memory is the system's again when it ends."""
        command = [sys.executable, "-m", "router.check.build_once", str(at_ms)]
        try:
            done = subprocess.run(
                command,
                input=settings_text(self._built),
                capture_output=True,
                text=True,
                cwd=_ROOT,
                timeout=self._settings.build_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SnapshotAwayError(
                f"the snapshot of this moment was not built within {self._settings.build_seconds:g} s"
            ) from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise SnapshotAwayError(f"the snapshot of this moment cannot be built: {said[0][:300]}")


def _covers(snapshot: Snapshot, at_ms: int) -> bool:
    config = snapshot.config
    return config.taken_at_ms <= at_ms and (config.next_change_at_ms is None or at_ms < config.next_change_at_ms)


def _fits(snapshot: Snapshot, generation: int, at_ms: int) -> bool:
    return snapshot.config.generation == generation and _covers(snapshot, at_ms)


@contextlib.contextmanager
def _locked(path: Path, wait_seconds: float) -> Iterator[None]:
    """The directory is one process's for a moment. Raises SnapshotAwayError after a bounded wait."""
    deadline = time.monotonic() + wait_seconds
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SnapshotAwayError(
                        "another question's snapshot is being built: ask again in a moment"
                    ) from error
                time.sleep(_LOOK_SECONDS)
        yield
