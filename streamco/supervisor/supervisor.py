"""All components of one STREAMCO_HOME: started in order, their status written to a file, ended in the reverse order."""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, TextIO

import structlog

from runtime.disk import DEFAULT_RESERVE_BYTES, Disk, is_full
from runtime.metrics import SUFFIX
from streamco.embedded.server import Progress, ServerError
from streamco.pidfile import end_process, living, read_pid, write_pid
from streamco.places import Places
from streamco.supervisor.component import AT_WORK, Component, State, Status
from streamco.supervisor.keeper import STARVED_TIMES, Keeper
from streamco.supervisor.metrics import tell

log = structlog.get_logger(__name__)
STATUS_SECONDS: Final = 0.5
_ORPHAN_STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05


class Supervisor:
    """Owns a home directory from `open` to `close`. Every method is called from one thread."""

    def __init__(self, places: Places, progress: Progress, reserve_bytes: int = DEFAULT_RESERVE_BYTES) -> None:
        """`reserve_bytes`: with less than that free, the disk of the directory counts as nearly full."""
        self._places = places
        self._disk = Disk("home", places.home, reserve_bytes)
        self._progress = progress
        self._keepers: dict[str, Keeper] = {}
        self._announced: list[Component] = []
        self._lock: TextIO | None = None
        self._writer = threading.Thread(target=self._write_status_often, name="status", daemon=True)
        self._ending = threading.Event()
        self._status_guard = threading.Lock()

    def open(self) -> None:
        """Take the directory. Raises ServerError when another supervisor has it."""
        self._places.make()
        self._lock = self._places.lock.open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = read_pid(self._places.supervisor_pid)
            who = f" (process {holder.pid})" if holder is not None else ""
            self._lock.close()
            raise ServerError(
                f"{self._places.home} is in use: a supervisor{who} runs there already; "
                "`streamco status` shows it, `streamco down` stops it"
            ) from error
        write_pid(self._places.supervisor_pid, os.getpid())
        end_orphans(self._places, self._progress)
        self._writer.start()

    def disk_alarm(self) -> str:
        """What is wrong with the disk of the directory, in words; empty while it has room."""
        self._disk.look()
        return self._disk.said

    def announce(self, components: Sequence[Component]) -> None:
        """What is going to be started: shown as starting from now on, so that nobody takes a part for the whole."""
        self._announced = list(components)
        self._write_status()

    def start(self, components: Sequence[Component], *, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Start these, together where their needs allow, and return when all are healthy.

        Raises ServerError when one failed, or when `interrupted` says so.
        """
        names = []
        for component in components:
            keeper = Keeper(component, self._places, self._usable, self._progress)
            self._keepers[component.name] = keeper
            names.append(component.name)
            keeper.start()
        longest_seconds = max((component.start_seconds for component in components), default=0.0)
        deadline = time.monotonic() + longest_seconds * 2 * (1 + STARVED_TIMES)
        while not all(self._usable(name) for name in names):
            if interrupted():
                raise ServerError("interrupted")
            for name in names:
                status = self._keepers[name].status()
                # A first start that failed several times is not waited for until its back-off has run out.
                if status.state == "failed" or status.restarts >= 3 or time.monotonic() > deadline:
                    raise ServerError(f"{name} does not start: {status.detail} (log: {status.log})")
            time.sleep(_POLL_SECONDS)
        self._write_status()

    def stop(self, names: Sequence[str]) -> None:
        """End these, one after the other, and keep showing them as stopped."""
        for name in names:
            if name in self._keepers:
                self._keepers[name].stop()
        self._write_status()

    def statuses(self) -> list[Status]:
        """All components, in the order in which they are started."""
        keepers = dict(self._keepers)
        waiting = [one for one in self._announced if one.name not in keepers]
        state: State = "stopped" if self._ending.is_set() else "starting"
        return [keeper.status() for keeper in keepers.values()] + [
            Status(one.name, state, None, one.address, 0, None) for one in waiting
        ]

    def close(self) -> None:
        """End everything that was started, last first, and give the directory back."""
        for name in reversed(list(self._keepers)):
            if not self._keepers[name].component.external:
                self._progress(f"stopping {name}")
            self._keepers[name].stop()
        self._ending.set()
        if self._writer.is_alive():
            self._writer.join()
        self._write_status()
        self._places.supervisor_pid.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def _usable(self, name: str) -> bool:
        keeper = self._keepers.get(name)
        return keeper is not None and keeper.state in AT_WORK

    def _write_status_often(self) -> None:
        while not self._ending.wait(STATUS_SECONDS):
            self._disk.look()
            try:
                self._tell_often()
            except OSError as error:
                if not is_full(error):
                    raise
                log.error("the status has no room: the disk is full", error=str(error))  # noqa: TRY400

    def _tell_often(self) -> None:
        self._write_status()
        ends = {name: keeper.recent_ends(time.monotonic()) for name, keeper in dict(self._keepers).items()}
        tell(self.statuses(), ends, self._places.run / f"supervisor{SUFFIX}")

    def _write_status(self) -> None:
        with self._status_guard:
            part = self._places.status.with_suffix(".part")
            part.write_text(json.dumps(status_document(self.statuses(), self._disk.said)))
            part.replace(self._places.status)


def status_document(statuses: Sequence[Status], alarm: str = "") -> dict[str, Any]:
    """What `streamco status --json` prints: ok when every component is healthy, or runs elsewhere and answers.

    One that is degraded is at work, and not ok: `detail` says what it cannot do, and what follows.
    `alarm`: what else is wrong, in words; then it is not ok either.
    """
    return {
        "ok": bool(statuses) and not alarm and all(status.state in ("healthy", "external") for status in statuses),
        "alarm": alarm,
        "components": [asdict(status) for status in statuses],
    }


def end_orphans(places: Places, progress: Progress) -> list[str]:
    """End what the pid files prove that an earlier supervisor of this directory left; the names of those."""
    ended = []
    paths = [path for path in places.run.glob("*.pid") if path != places.supervisor_pid]
    # Newest first: what depends on a server goes before the server.
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        process = living(read_pid(path))
        if process is not None:
            progress(f"ending {path.stem}, left by an earlier supervisor (process {process.pid})")
            end_process(process, signal.SIGINT if path.stem == "postgres" else signal.SIGTERM, _ORPHAN_STOP_SECONDS)
            ended.append(path.stem)
        path.unlink(missing_ok=True)
    return ended
