"""The agent's record of its machine's wall clock against the monotonic one, kept on disk (clock.json).

Read each second, and before each batch of the journal, so that a step is known before the first line behind it is read.
The file is written at each step, and each second: so a restarted agent knows between which moments the clock was set
while none ran. After a start of the machine the record begins anew: no call lives through that, and the monotonic clock
begins at zero.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.state_file import AgentError
from runtime.disk import is_full
from schemas.clock_steps import MAX_STRETCHES, Clock, Doubt, Stretch, read_clock

log = structlog.get_logger(__name__)
CLOCK_NAME: Final = "clock.json"
READ_SECONDS: Final = 1.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_STORE_MS: Final = 1_000
_NOISE_US: Final = 500  # between the two readings of the monotonic clock around the wall clock's
_TRIES: Final = 20
_APART_MS: Final = 1_000
_VERSION: Final = 1


class _Record(msgspec.Struct, frozen=True):
    boot_id: str
    stretches: list[Stretch]
    doubts: list[Doubt]
    v: int = _VERSION


class NodeClock:
    """Used by several threads. `readings` gives (wall, monotonic) in milliseconds, read at once."""

    def __init__(self, directory: Path, readings: Callable[[], tuple[int, int]] | None = None) -> None:
        """Reads what is stored. Raises AgentError, OSError."""
        self._path = directory / CLOCK_NAME
        self._readings = readings or _read
        self._lock = threading.Lock()
        self._boot_id = _BOOT_ID.read_text().strip()
        self._clock = self._load()
        self._stored_ms = 0
        self._apart_ms = 0
        self._asked_ms: int | None = None

    def read(self) -> Clock:
        """Read both clocks; what is known now. Raises OSError of the disk, unless it is full."""
        with self._lock:
            before = self._clock
            wall_ms, monotonic_ms = self._readings()
            self._clock = read_clock(before, wall_ms, monotonic_ms)
            stepped = before.stretches and before.stretches[-1].offset_ms != self._clock.stretches[-1].offset_ms
            if stepped:
                step_ms = self._clock.stretches[-1].offset_ms - before.stretches[-1].offset_ms
                log.warning("the wall clock was set: talk is corrected for it", step_ms=step_ms)
            if stepped or monotonic_ms - self._stored_ms >= _STORE_MS or not self._stored_ms:
                self._store(monotonic_ms)
            return self._clock

    def asterisk_says(self, node_clock_ms: int, monotonic_ms: int, asked_monotonic_ms: int) -> None:
        """Asterisk's own wall time, read between these two times. Where it moves away from the agent's, legs that are
        up are doubtful.
        """
        with self._lock:
            if not self._clock.stretches:
                return
            offset_ms = self._clock.stretches[-1].offset_ms
            late_ms = max(0, asked_monotonic_ms + offset_ms - node_clock_ms)
            early_ms = max(0, node_clock_ms - monotonic_ms - offset_ms)
            apart_ms = early_ms - late_ms
            since_ms, self._asked_ms = self._asked_ms, monotonic_ms
            if abs(apart_ms - self._apart_ms) <= _APART_MS:
                return
            log.error("Asterisk's clock and its agent's moved apart: legs that are up are flagged", apart_ms=apart_ms)
            # Wide by what they moved: a leg's end by a clock that is away is that far from where it seems to be.
            moved_ms = abs(apart_ms - self._apart_ms)
            self._apart_ms = apart_ms
            first_ms = asked_monotonic_ms if since_ms is None else since_ms
            doubt = Doubt(first_ms - moved_ms, monotonic_ms + moved_ms)
            self._clock = self._clock._replace(doubts=(*self._clock.doubts, doubt)[-MAX_STRETCHES:])
            self._store(monotonic_ms)

    def _load(self) -> Clock:
        try:
            record = _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return Clock()
        except msgspec.MsgspecError as error:
            raise AgentError(f"{self._path}: {error}; without it steps of the clock until now are not known") from error
        if record.v != _VERSION:
            raise AgentError(f"{self._path}: version {record.v}: this program reads version {_VERSION}")
        if record.boot_id != self._boot_id:
            return Clock()
        return Clock(tuple(record.stretches), tuple(record.doubts))

    def _store(self, monotonic_ms: int) -> None:
        """Replace the file, whole. A disk without room is tried again with the next minute."""
        self._stored_ms = monotonic_ms
        part = self._path.with_suffix(".part")
        try:
            record = _Record(self._boot_id, [*self._clock.stretches], [*self._clock.doubts])
            with part.open("wb") as file:
                file.write(msgspec.json.encode(record))
            part.replace(self._path)
        except OSError as error:
            if not is_full(error):
                raise
            log.error("steps of the clock are not stored: the disk is full", error=str(error))  # noqa: TRY400


def _read() -> tuple[int, int]:
    """(wall, monotonic) in milliseconds. A reading between which this process had to wait is made again."""
    best = (1 << 62, 0, 0)
    for _ in range(_TRIES):
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        best = min(best, (after_ns - before_ns, wall_ns, (before_ns + after_ns) // 2))
        if best[0] <= _NOISE_US * 1_000:
            break
    # From one difference: rounding both alike keeps the offset free of their fractions.
    offset_ms = (best[1] - best[2]) // 1_000_000
    monotonic_ms = best[2] // 1_000_000
    return monotonic_ms + offset_ms, monotonic_ms


_decoder: Final = msgspec.json.Decoder(_Record)
