"""Holds the newest snapshot: starts the builder, watches for what it publishes, and swaps one reference."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import structlog

from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.build import settings_text
from router.snapshot.prices import SnapshotError
from router.snapshot.store import Snapshot

log = structlog.get_logger(__name__)
_LOOK_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 2.0
_BUILDER_STOP_SECONDS: Final = 3.0


class SnapshotHolder:
    """`current` is the newest snapshot, or None before the first. A call reads it once and keeps it."""

    def __init__(self, settings: SnapshotSettings, *, builds: bool = True) -> None:
        """A snapshot that an earlier run left on disk is taken at once: a cold start needs no PostgreSQL.

        `builds`: it keeps the builder, too; else another process of the same directory does.
        """
        self._settings = settings
        self._builds = builds
        self._builder: asyncio.subprocess.Process | None = None
        self._failed = ""
        self.current: Snapshot | None = None
        settings.directory.mkdir(parents=True, exist_ok=True)

    async def run(self) -> None:
        """Watch and swap until cancelled; keeps the builder running."""
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._builds:
                    tasks.create_task(self._keep_builder())
                tasks.create_task(self._watch())
        finally:
            await self._end_builder()

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Take the newest snapshot if it is not the current one. Loading and letting go happen in a thread."""
        name = store.newest(self._settings.directory)
        if not name or name == self._failed or (self.current is not None and self.current.name == name):
            return
        try:
            loaded = await asyncio.to_thread(store.load, self._settings.directory, name)
        except (OSError, SnapshotError, ValueError) as error:
            log.error("snapshot cannot be loaded: the last one stays", name=name, error=repr(error))  # noqa: TRY400
            self._failed = name
            return
        old, self.current = self.current, loaded
        log.info("snapshot live", name=name, generation=loaded.config.generation)
        if old is not None:
            holder = [old]
            del old
            # Unmapping takes milliseconds: the last reference is dropped there, not in the event loop.
            await asyncio.to_thread(holder.clear)

    async def _keep_builder(self) -> None:
        while True:
            self._builder = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "router.snapshot.build",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                cwd=_ROOT,
            )
            await self._builder.communicate(settings_text(self._settings).encode())
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


_ROOT: Final = Path(__file__).resolve().parent.parent
