"""Holds the newest snapshot: watches for what the builder publishes, and swaps one reference.

Of all routers that share a directory one starts a builder; where it dies another does.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from router.build.builder import BUILDING, HAS_BUILDER, has_builder, settings_text
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.errors import SnapshotError
from router.snapshot.manifest import Pointer, generations, read_pointer
from router.snapshot.store import Snapshot

log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 2.0
_LOCK_SECONDS: Final = 1.0
_FAILED_KEPT: Final = 100
_BUILDER_STOP_SECONDS: Final = 3.0


class SnapshotHolder:
    """`current` is the newest snapshot, or None before the first. A call reads it once and keeps it."""

    def __init__(self, settings: SnapshotSettings, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000):
        """A snapshot that an earlier run left on disk is taken at once: a cold start needs no PostgreSQL."""
        self._settings = settings
        self._directory = settings.directory
        self._clock_ms = clock_ms
        self._builder: asyncio.subprocess.Process | None = None
        self._failed: set[str] = set()
        self._next: Snapshot | None = None
        self.current: Snapshot | None = None
        self._directory.mkdir(parents=True, exist_ok=True)

    @property
    def building(self) -> str:
        """What the builder is at, if it takes longer than a moment."""
        try:
            return (self._directory / BUILDING).read_text()
        except OSError:
            return ""

    async def run(self) -> None:
        """Watch and swap until cancelled; keeps the builder running."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_builder())
                tasks.create_task(self._watch())
        finally:
            await self._end_builder()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Take the snapshot that is in force if it is not the current one; have the one that follows ready.

        Loading and letting go happen in a thread.
        """
        try:
            pointer = read_pointer(self._directory)
        except (OSError, SnapshotError) as error:
            pointer = Pointer()
            self._refuse("the pointer", error)
        name = pointer.at(self._clock_ms())
        held = self.current.name if self.current is not None else ""
        if name and name != held:
            ready = self._next if self._next is not None and self._next.name == name else None
            await self._take(ready or await self._load(name))
        if self.current is None:
            await self._take(await self._any_on_disk())
        follows = pointer.next_name
        if follows and (self._next is None or self._next.name != follows) and follows != name:
            old, self._next = self._next, await self._load(follows)
            await _let_go([old])

    async def _take(self, loaded: Snapshot | None) -> None:
        if loaded is None:
            return
        if loaded is self._next:
            self._next = None
        old, self.current = self.current, loaded
        log.info("snapshot live", name=loaded.name, generation=loaded.config.generation)
        gone = [old]
        del old
        await _let_go(gone)

    async def _load(self, name: str) -> Snapshot | None:
        """A generation, or None if it cannot be loaded: that is said once. The first of a process is checked whole."""
        if name in self._failed:
            return None
        try:
            return await asyncio.to_thread(store.load, self._directory, name, checked=self.current is None)
        except (OSError, SnapshotError, ValueError, KeyError) as error:
            self._refuse(name, error)
            return None

    async def _any_on_disk(self) -> Snapshot | None:
        """The newest generation that is whole, where the one that is published is not."""
        now_ms = self._clock_ms()
        for name in reversed(generations(self._directory)):
            loaded = await self._load(name)
            if loaded is not None and loaded.config.taken_at_ms <= now_ms:
                return loaded
        return None

    def _refuse(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            log.error("snapshot cannot be loaded: the last one stays", name=name, error=repr(error))
        if len(self._failed) >= _FAILED_KEPT:
            self._failed.clear()
        self._failed.add(name)

    async def _keep_builder(self) -> None:
        while True:
            if await asyncio.to_thread(has_builder, self._directory):
                await asyncio.sleep(_LOCK_SECONDS)
                continue
            self._builder = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "router.build.builder",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                cwd=_ROOT,
            )
            await self._builder.communicate(settings_text(self._settings).encode())
            if self._builder.returncode != HAS_BUILDER:
                log.error("the builder of snapshots ended: it is started again", code=self._builder.returncode)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _end_builder(self) -> None:
        builder = self._builder
        if builder is None or builder.returncode is not None:
            return
        builder.terminate()
        try:
            await asyncio.wait_for(builder.wait(), _BUILDER_STOP_SECONDS)
        except TimeoutError:
            builder.kill()
            await builder.wait()


async def _let_go(gone: list[Snapshot | None]) -> None:
    """Unmapping takes milliseconds: the last reference is dropped in a thread, not in the event loop."""
    if any(gone):
        await asyncio.to_thread(gone.clear)


_ROOT: Final = Path(__file__).resolve().parents[2]
