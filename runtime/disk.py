"""How much room a disk has. Below its reserve it counts as nearly full: new calls are refused while what is under way
still has room to be written to its end. Loud: an error in the log when it begins and every minute, and gauges.
"""

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from runtime.metrics import gauge

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 60.0
MARGIN_BYTES: Final = (
    128 << 20
)  # above the reserve, at most: a disk that has just room again is not full a moment later
DEFAULT_RESERVE_BYTES: Final = 1024 << 20
FREE: Final = gauge("disk_free_bytes", "Free on the disk of this place, for a user who is not root.", ["place"])
RESERVE: Final = gauge("disk_reserve_bytes", "Below it new calls are refused.", ["place"])
LOW: Final = gauge(
    "disk_low", "1: the disk of this place is nearly full, and new calls are refused; 0: it has room.", ["place"]
)
# No room on the disk, none of the user's quota, or none up to the largest size that a file may have here.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room alone: it may be tried again, and nothing else is wrong."""
    return error.errno in _FULL


def is_low(free_bytes: int, reserve_bytes: int, *, was_low: bool) -> bool:
    """Nearly full: below the reserve, and until there is a little more than the reserve again. Pure."""
    margin_bytes = min(reserve_bytes // 8, MARGIN_BYTES) if was_low else 0
    return free_bytes < reserve_bytes + margin_bytes


class Disk:
    """The disk that a directory is on. `look` as often as one likes: the disk itself is asked every LOOK_SECONDS."""

    def __init__(
        self,
        place: str,
        directory: Path,
        reserve_bytes: int,
        *,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`place`: what is kept there, for people and as the metrics' label. The directory need not be there yet."""
        self.place = place
        self.reserve_bytes = reserve_bytes
        self.free_bytes: int | None = None
        self.low = False
        self._directory = directory
        self._free = free
        self._clock = clock
        self._looked_at = float("-inf")
        self._said_at = float("-inf")
        RESERVE.labels(place).set(reserve_bytes)

    def look(self) -> bool:
        """Whether it is nearly full. What cannot be asked stays as it was, and that is said."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return self.low
        self._looked_at = now
        path = self._directory
        while not path.exists() and path != path.parent:
            path = path.parent
        try:
            self.free_bytes = self._free(path)
        except OSError as error:
            log.error("a disk cannot be asked for its room", place=self.place, error=str(error))  # noqa: TRY400
            return self.low
        was_low, self.low = self.low, is_low(self.free_bytes, self.reserve_bytes, was_low=self.low)
        FREE.labels(self.place).set(self.free_bytes)
        LOW.labels(self.place).set(self.low)
        self._say(was_low, now)
        return self.low

    @property
    def said(self) -> str:
        """In words, for a beat: empty while there is room."""
        if not self.low or self.free_bytes is None:
            return ""
        free, reserve = self.free_bytes >> 20, self.reserve_bytes >> 20
        return f"DISK NEARLY FULL under the {self.place}: {free} MB free, {reserve} MB are the reserve"

    def _say(self, was_low: bool, now: float) -> None:
        values = {"place": self.place, "free_bytes": self.free_bytes, "reserve_bytes": self.reserve_bytes}
        if self.low and (not was_low or now - self._said_at >= AGAIN_SECONDS):
            self._said_at = now
            log.error("the disk is nearly full: new calls are refused", directory=str(self._directory), **values)
        elif was_low and not self.low:
            log.warning("the disk has room again", directory=str(self._directory), **values)
