"""Reads a journal file for its audit: from where it was counted, up to what has been there for long enough."""

import hashlib
import os
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from agent.journal.files import LONGEST_PIECE, Line
from agent.journal.marks import EDGE_BYTES, Found, head_of, tail_of, whole_lines
from agent.journal.rows import Segment

_CHUNK: Final = 1 << 20


class Piece(NamedTuple):
    """Whole lines from where a file was counted, and the place behind them. `changed`: it is not what was counted."""

    file: str
    lines: list[Line]
    offset: int
    tail: str
    changed: bool = False


class Settled:
    """How large each file was some time ago. By a monotonic clock: no step of another one makes a line older."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looks: deque[tuple[float, dict[int, int]]] = deque()

    def look(self, found: Iterable[Found], now: float | None = None) -> dict[int, int] | None:
        """Take note of the sizes as they are; those of the newest look that is old enough, by inode. None: none is."""
        moment = time.monotonic() if now is None else now
        self._looks.append((moment, {file.inode: file.size for file in found}))
        while len(self._looks) > 1 and self._looks[1][0] <= moment - self._seconds:
            self._looks.popleft()
        at, sizes = self._looks[0]
        return sizes if at <= moment - self._seconds else None


def read_head(directory: Path, found: Found) -> str | None:
    """By what a file is known. None: it is another file now, or has no line yet. Raises OSError."""
    opened = _open(directory, found)
    if opened is None:
        return None
    try:
        return head_of(os.pread(opened, EDGE_BYTES, 0))
    finally:
        os.close(opened)


def read_piece(directory: Path, found: Found, segments: dict[str, Segment], settled: int) -> Piece | None:
    """The next lines of a file. None: it is another file now, or has no line yet. Raises OSError."""
    opened = _open(directory, found)
    if opened is None:
        return None
    try:
        head = head_of(os.pread(opened, EDGE_BYTES, 0))
        if head is None:
            return None
        segment = segments.get(head)
        offset, tail = (segment.bytes, segment.tail) if segment else (0, tail_of(b""))
        before = max(0, offset - EDGE_BYTES)
        edge = offset - before
        data = os.pread(opened, edge + max(0, min(LONGEST_PIECE, settled - offset)), before)
    finally:
        os.close(opened)
    if len(data) < edge or tail_of(data[:edge]) != tail:
        return Piece(head, [], 0, tail_of(b""), changed=True)
    lines = []
    for raw in whole_lines(data[edge:], LONGEST_PIECE):
        lines.append(Line(head, offset, raw))
        offset += len(raw)
    return Piece(head, lines, offset, tail_of(data[: offset - before]))


def _open(directory: Path, found: Found) -> int | None:
    """A descriptor of the file that was found under that name; None if it is another one now."""
    try:
        opened = os.open(directory / found.name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if os.fstat(opened).st_ino != found.inode:
        os.close(opened)
        return None
    return opened


def digest(path: Path, size: int) -> str:
    """SHA-256 of a file that has just so many bytes; empty if it has not. Raises OSError."""
    sum_of = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            sum_of.update(piece)
            done += len(piece)
    return sum_of.hexdigest() if done == size else ""
