"""How far each journal file has been read, and by what a file is known again. Pure.

A mark stands at the end of a whole line whose event Kafka has acknowledged. A file is known by its inode and its first
line (a rename keeps both; an inode that was given to another file has another first line), and, where the inode is new
because a directory was copied, by its first line alone. What stands before the mark is checked at every read: a file
that lost its end with a machine's power, and grew again, is read from its beginning. To read a line twice is harmless
(the same event gets the same id); to pass one over is not.
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec

from schemas.journal import has_parts, parts_of

LIVE_NAME: Final = "Master.csv"
EDGE_BYTES: Final = 256  # of a file's beginning, and before a mark: enough to hold a call's id
STATE_VERSION: Final = 1
MOST_LOST: Final = 16
_LOST: Final = 0  # no file's inode


class Mark(msgspec.Struct, frozen=True):
    """`offset`: bytes done. `head` and `tail`: digests of the file's beginning and of what ends at the offset.

    `changed_ns`: the file's last change (unix ns) as it was found before it was read; 0: not known.
    """

    inode: int
    head: str
    offset: int
    tail: str
    changed_ns: int = 0

    @property
    def as_read(self) -> tuple[int, int, int]:
        """Equal to a file's `as_found`: nothing of it is left to be read."""
        return self.inode, self.offset, self.changed_ns


class AgentState(msgspec.Struct, frozen=True):
    """What an agent keeps on disk.

    `epoch`: the last one that Kafka was told of, with all that died before it (0: none); `started`: when that Asterisk
    started, by its own word.
    """

    epoch: int = 0
    files: tuple[Mark, ...] = ()
    v: int = STATE_VERSION
    started: str = ""


class Found(NamedTuple):
    """A file of the journal as a look into its directory found it."""

    name: str
    inode: int
    size: int
    modified_ns: int

    @property
    def as_found(self) -> tuple[int, int, int]:
        """What a mark at its end has, unless it was changed since. By the size alone that cannot be said: another file
        may have got the inode, and the size too.
        """
        return self.inode, self.size, self.modified_ns


def in_order(found: Iterable[Found]) -> list[Found]:
    """Oldest first: rotated files by their last change, then the one that is being written."""
    return sorted(found, key=lambda file: (file.name == LIVE_NAME, file.modified_ns, file.name))


def head_of(beginning: bytes) -> str | None:
    """The digest of a file's first line (of its first EDGE_BYTES); None before there is so much."""
    edge = beginning[:EDGE_BYTES]
    line, newline, _ = edge.partition(b"\n")
    if not newline and len(edge) < EDGE_BYTES:
        return None
    return _digest(line + newline)


def tail_of(before: bytes) -> str:
    """The digest of what ends at a mark."""
    return _digest(before[-EDGE_BYTES:])


def find_mark(marks: Iterable[Mark], inode: int, head: str, present: Collection[int]) -> Mark:
    """The mark of a file; one at its beginning if it is new. `present`: the inodes of files that are there and begin as
    it does, whose marks are their own.
    """
    moved = None
    for mark in marks:
        if mark.head == head:
            if mark.inode == inode:
                return mark
            if mark.inode not in present and (moved is None or mark.offset < moved.offset):
                moved = mark
    if moved is not None:
        return msgspec.structs.replace(moved, inode=inode)
    return Mark(inode, head, 0, tail_of(b""))


def with_mark(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    """The marks with this one in the place of the one that its file had.

    Where the inode was another file's, that one may be there under another inode, and is found again by its first line:
    of such marks without an inode the newest MOST_LOST are kept.
    """
    others = [one for one in marks if not (one.head == mark.head and one.inode in (mark.inode, _LOST))]
    others = [msgspec.structs.replace(one, inode=_LOST) if one.inode == mark.inode else one for one in others]
    surplus = sum(one.inode == _LOST for one in others) - MOST_LOST
    for _ in range(surplus):
        others.remove(next(one for one in others if one.inode == _LOST))
    return (*others, mark)


def without_marks(state: AgentState, inodes: Collection[int]) -> AgentState:
    """The state without the marks of these files."""
    files = tuple(mark for mark in state.files if mark.inode not in inodes)
    return msgspec.structs.replace(state, files=files)


def whole_lines(chunk: bytes, limit: int) -> list[bytes]:
    """The whole lines that a chunk begins with, line ends included; a torn last one waits for its rest. One that was
    never finished, and that the next line stands behind, is a line of its own, without a line end.

    A chunk of `limit` bytes without any line end is no journal's line: it is given out as it is.
    """
    end = chunk.rfind(b"\n") + 1
    if not end:
        return [chunk] if len(chunk) >= limit else []
    whole = chunk[:end]
    lines = whole.splitlines(keepends=True) if b"\r" not in whole else _split_at_newlines(whole)
    return [part for line in lines for part in parts_of(line)] if has_parts(whole) else lines


def _split_at_newlines(chunk: bytes) -> list[bytes]:
    return [line + b"\n" for line in chunk[:-1].split(b"\n")]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:24]
