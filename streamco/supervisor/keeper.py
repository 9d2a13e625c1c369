"""Keeps one component at work, in a thread of its own: start, ask after it, start again with back-off, give up at last.

Nothing else writes what a keeper holds, so that the status of a component has one author.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import structlog

from runtime.disk import is_full
from streamco.embedded.server import Progress, ServerError
from streamco.handover import standard_input
from streamco.pidfile import write_pid
from streamco.places import Places
from streamco.supervisor.component import Component, State, Status
from streamco.supervisor.policy import WITHIN_SECONDS, History, ended, wait_seconds
from streamco.supervisor.priority import set_niceness, waited_seconds

log = structlog.get_logger(__name__)
_POLL_SECONDS: Final = 0.1
_STRIKES: Final = 3  # failed checks in a row before a process that runs is taken for dead
STARVED_TIMES: Final = 4  # its time to start, at most, is added for what it waited for a processor
LOG_LIMIT_BYTES: Final = 64 << 20


class Keeper:
    """`usable(name)`: is the component of this name at work? `progress` takes lines for people."""

    def __init__(self, component: Component, places: Places, usable: Callable[[str], bool], progress: Progress) -> None:
        self.component = component
        self._places = places
        self._usable = usable
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeper-{component.name}", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        # (state, detail, restarts) in one tuple: whoever asks from another thread never sees half of a change.
        self._shown: tuple[State, str, int] = ("starting", "", 0)
        self._last_end = ""
        self._history = History()
        self._log_path: Path = places.log(component.name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the process as its component says, and return when it has ended."""
        self._stop.set()
        self._thread.join()

    @property
    def state(self) -> State:
        """What it is now. A process that has just died is not healthy, though its keeper has not looked yet."""
        state = self._shown[0]
        return "restarting" if state in ("healthy", "degraded") and self._exit_code() is not None else state

    def recent_ends(self, now: float) -> int:
        """How often it has ended within the time that counts. `now`: monotonic seconds."""
        return sum(now - end < WITHIN_SECONDS for end in self._history.ends)

    def status(self) -> Status:
        """For the status file."""
        component = self.component
        pid = self._pid()
        state, detail, restarts = self._shown
        if state in ("healthy", "degraded") and pid is None and not component.external:
            state, detail = "restarting", "its process has ended"
        return Status(
            name=component.name,
            state=state,
            pid=pid,
            address=component.address,
            restarts=restarts,
            log=None if component.external else str(self._log_path),
            detail=detail,
        )

    def _pid(self) -> int | None:
        process = self._process
        if process is None or process.poll() is not None:
            return None
        serving = self.component.serving_pid() if self.component.serving_pid is not None else None
        return serving or process.pid

    def _set(self, state: State, detail: str = "", *, restarts: int | None = None) -> None:
        if (state, detail) != self._shown[:2]:
            log.info("component", name=self.component.name, state=state, detail=detail)
        self._shown = (state, detail, self._shown[2] if restarts is None else restarts)

    def _run(self) -> None:
        try:
            if self.component.external:
                self._watch_external()
            else:
                self._keep()
        except Exception as error:  # a keeper that ends unseen would leave its component unwatched
            log.exception("keeper ends", name=self.component.name)
            self._end_process()
            self._set("failed", f"its keeper ended: {error!r}")

    def _watch_external(self) -> None:
        while not self._stop.is_set():
            try:
                degraded = self.component.healthy(None)
                self._set("degraded" if degraded else "external", degraded or "")
            except ServerError as error:
                self._set("failed", str(error))
            self._stop.wait(self.component.check_seconds)
        self._set("stopped")

    def _keep(self) -> None:
        while self._await_needs():
            reason, healthy_seconds = self._one_life()
            if self._stop.is_set():
                break
            self._history = ended(self._history, time.monotonic(), healthy_seconds)
            pause = wait_seconds(self._history)
            self._last_end = reason
            restarts = self._shown[2] + 1
            if pause is None:
                detail = f"{reason}; it ended {len(self._history.ends)} times: not started again"
                self._set("failed", detail, restarts=restarts)
                self._progress(f"{self.component.name}: failed: {reason} (log: {self._log_path})")
                self._stop.wait()
                break
            self._set("restarting", reason, restarts=restarts)
            self._stop.wait(pause)
        self._set("stopped")

    def _await_needs(self) -> bool:
        """Until all that it needs is at work; False when it is to stop."""
        while not self._stop.is_set():
            missing = [name for name in self.component.needs if not self._usable(name)]
            if not missing:
                return True
            self._set(self._shown[0], f"waits for {', '.join(missing)}")
            self._stop.wait(_POLL_SECONDS)
        return False

    def _one_life(self) -> tuple[str, float]:
        """Start it and watch it to its end: why it ended, and for how long it had been healthy."""
        component = self.component
        try:
            component.prepare(self._progress)
            self._spawn()
        except (ServerError, OSError, psutil.Error) as error:
            self._end_process()  # its pid file may be what could not be written
            return str(error), 0.0
        started_at = time.monotonic()
        healthy_at: float | None = None
        strikes = 0
        reason = ""
        while not self._stop.is_set() and not reason:
            if (code := self._exit_code()) is not None:
                reason = f"ended with code {code}"
                break
            try:
                degraded = component.healthy(self._pid())
                strikes = 0
                if healthy_at is None:
                    healthy_at = time.monotonic()
                    self._progress(f"{component.name}: healthy after {healthy_at - started_at:.1f} s")
                self._set("degraded" if degraded else "healthy", degraded or "")
            except ServerError as error:
                strikes += 1
                if healthy_at is None and self._tried_seconds(started_at) > component.start_seconds:
                    reason = f"did not become healthy in {component.start_seconds:.0f} s: {error}"
                elif healthy_at is not None and strikes >= _STRIKES:
                    reason = f"does not work: {error}"
                else:
                    self._set(*self._not_yet(error) if healthy_at is None else ("healthy", str(error)))
            self._pause(healthy_at)
        self._end_process()
        return reason, time.monotonic() - healthy_at if healthy_at is not None else 0.0

    def _tried_seconds(self, started_at: float) -> float:
        """For how long it has been starting, but for what it waited for a processor: ending it would not help."""
        waited = waited_seconds(self._process.pid) if self._process is not None else 0.0
        return time.monotonic() - started_at - min(waited, STARVED_TIMES * self.component.start_seconds)

    def _not_yet(self, error: ServerError) -> tuple[State, str]:
        """State and detail of one that is not at work yet: after an end, why it ended stays in sight."""
        return ("restarting", f"{self._last_end}; now: {error}") if self._last_end else ("starting", str(error))

    def _exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else -1

    def _pause(self, healthy_at: float | None) -> None:
        """Until the next check, looking often whether the process is still there."""
        until = time.monotonic() + (self.component.check_seconds if healthy_at is not None else 2 * _POLL_SECONDS)
        while time.monotonic() < until and not self._stop.wait(_POLL_SECONDS):
            if self._exit_code() is not None:
                return
        self._trim_log()

    def _spawn(self) -> None:
        component = self.component
        self._trim_log()
        self._places.beat(component.name).unlink(missing_ok=True)
        with self._log_path.open("ab") as output, standard_input(component.given) as given:
            self._process = subprocess.Popen(
                component.argv,
                env=dict(component.environment),
                cwd=component.directory,
                stdin=given,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=component.inherits,
            )
        set_niceness(self._process.pid, component.name)
        write_pid(self._places.pid(component.name), self._process.pid)

    def _trim_log(self) -> None:
        """A log that passes its limit becomes the one old one; the process goes on appending to the emptied file."""
        try:
            if self._log_path.stat().st_size < LOG_LIMIT_BYTES:
                return
            old = self._log_path.with_suffix(".log.1")
            try:
                old.write_bytes(self._log_path.read_bytes())
            except OSError as error:
                if not is_full(error):
                    raise
                old.unlink(missing_ok=True)
                log.error("an old log is given up: the disk is full", name=self.component.name)  # noqa: TRY400
            with self._log_path.open("r+b") as file:
                file.truncate(0)
        except FileNotFoundError:
            return

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self.component.stop_signal)
            try:
                process.wait(self.component.stop_seconds)
            except subprocess.TimeoutExpired:
                log.error("killed: did not end in time", name=self.component.name)  # noqa: TRY400
                process.kill()
                process.wait()
        self._places.pid(self.component.name).unlink(missing_ok=True)
