"""Which sessions have been: each digest opens one, whichever of this machine's router processes takes it.

A file that they share, of fixed size: 131,072 groups of eight marks. A digest is as good as chance, so its first bytes
are its mark and the next ones its group; the newest mark of a group pushes its oldest out. So the last hundred thousand
sessions are remembered, and most of the last million, over restarts of any of the processes. There is no clock in it:
a node whose clock is wrong calls all the same. What is older PostgreSQL knows: its call has a hold, or is billed
(schemas/postgres/functions/admit.sql).

Where the file cannot be used, calls go on: each process remembers its own last 65,536 sessions then.
"""

import fcntl
import mmap
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

    def __init__(self, path: Path | None, *, shared: bool = True) -> None:
        """`path`: the file, made when it is missing; None: none is wanted. `shared`: other processes use it, too."""
        self._alone: dict[bytes, None] = {}  # the oldest first
        self._descriptor = -1
        self._shared = shared
        self._groups: mmap.mmap | None = None
        if path is not None:
            try:
                self._descriptor, self._groups = _open(path)
            except OSError as error:
                log.error("sessions are remembered by each router process alone", error=repr(error)[:200])  # noqa: TRY400

    def take(self, digest: str) -> bool:
        """Whether this session (40 hexadecimal digits) is the first with its digest."""
        number = bytes.fromhex(digest)
        mark = number[:_MARK_BYTES]
        if self._groups is None:
            return self._take_alone(mark)
        place = int.from_bytes(number[_MARK_BYTES : 2 * _MARK_BYTES]) % GROUPS * _GROUP_BYTES
        if not self._shared:
            return _take(self._groups, mark, place)
        if not _lock(self._descriptor, place):
            return False
        try:
            return _take(self._groups, mark, place)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _GROUP_BYTES, place)

    def close(self) -> None:
        """Let go of the file."""
        if self._groups is not None:
            self._groups.close()
            self._groups = None
            os.close(self._descriptor)

    def _take_alone(self, mark: bytes) -> bool:
        if mark in self._alone:
            return False
        self._alone[mark] = None
        if len(self._alone) > ALONE:
            del self._alone[next(iter(self._alone))]
        return True


def _take(groups: mmap.mmap, mark: bytes, place: int) -> bool:
    kept = groups[place : place + _GROUP_BYTES]
    at = kept.find(mark)
    while at >= 0:
        if at % _MARK_BYTES == 0:
            return False
        at = kept.find(mark, at + 1)
    groups[place : place + _GROUP_BYTES] = mark + kept[:-_MARK_BYTES]
    return True


def _open(path: Path) -> tuple[int, mmap.mmap]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # Now, so that there is room when the disk is full: a page that has none ends the process. (Nor would there be
        # calls then: they are refused while the disk's reserve is still free.)
        os.posix_fallocate(descriptor, 0, GROUPS * _GROUP_BYTES)
        return descriptor, mmap.mmap(descriptor, GROUPS * _GROUP_BYTES)
    except OSError:
        os.close(descriptor)
        raise


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
