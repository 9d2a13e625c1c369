"""Which sessions have been: each digest opens one, whichever of this machine's router processes takes it.

A file that they share, of fixed size: 131,072 groups of eight marks. A digest is as good as chance, so its first bytes
are its mark and the next ones its group; the newest mark of a group pushes its oldest out. So the last hundred thousand
sessions are remembered, and most of the last million, over restarts of any of the processes. There is no clock in it:
a node whose clock is wrong calls all the same. What is older PostgreSQL knows: its call has a hold, or is billed
(admit(), in schemas/postgres/).

Where the file cannot be used, calls go on: each process remembers its own last 65,536 sessions then.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)
GROUPS: Final = 131_072
MARKS: Final = 8  # of a group
ALONE: Final = 65_536  # marks that a process keeps for itself, without the file
_MARK_BYTES: Final = 8
_GROUP_BYTES: Final = MARKS * _MARK_BYTES
_TRIES: Final = 20
_AGAIN_SECONDS: Final = 0.0005


class UsedSessions:
    """`take` says once for each digest that it is new."""

    def __init__(self, path: Path | None) -> None:
        """`path`: the file, made when it is missing; None: none is wanted."""
        self._alone: dict[bytes, None] = {}  # the oldest first
        self._descriptor: int | None = None
        if path is not None:
            try:
                self._descriptor = _open(path)
            except OSError as error:
                self._lose(error)

    def take(self, digest: str) -> bool:
        """Whether this session (40 hexadecimal digits) is the first with its digest."""
        number = bytes.fromhex(digest)
        mark, group = number[:_MARK_BYTES], int.from_bytes(number[_MARK_BYTES : 2 * _MARK_BYTES]) % GROUPS
        if self._descriptor is not None:
            try:
                return self._take(self._descriptor, mark, group * _GROUP_BYTES)
            except OSError as error:
                self.close()
                self._lose(error)
        if mark in self._alone:
            return False
        self._alone[mark] = None
        if len(self._alone) > ALONE:
            del self._alone[next(iter(self._alone))]
        return True

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @staticmethod
    def _take(descriptor: int, mark: bytes, place: int) -> bool:
        if not _lock(descriptor, place):
            return False
        try:
            kept = os.pread(descriptor, _GROUP_BYTES, place)
            if mark in [kept[at : at + _MARK_BYTES] for at in range(0, len(kept), _MARK_BYTES)]:
                return False
            os.pwrite(descriptor, mark + kept[:-_MARK_BYTES], place)
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, _GROUP_BYTES, place)
        return True

    @staticmethod
    def _lose(error: OSError) -> None:
        log.error("sessions are remembered by each router process alone", error=repr(error)[:200])


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, GROUPS * _GROUP_BYTES)  # now, so that there is room when the disk is full
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, place: int) -> bool:
    """Whether the group is this process's alone now.

    Two sessions are at one group at once only where they have one digest, or by a chance of one in 131,072. So one
    that has waited in vain for 10 ms, because the other's process has been stopped meanwhile, counts as a repeat.
    """
    for _ in range(_TRIES):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _GROUP_BYTES, place)
        except (BlockingIOError, PermissionError):
            time.sleep(_AGAIN_SECONDS)
        else:
            return True
    return False
