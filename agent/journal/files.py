"""Reads the journal's files: whole lines, oldest file first, from the marks on. Never writes to them.

Rotation is by renaming: a file is opened by name, and taken only if it is the inode that was found under that name.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from agent.journal.marks import (
    EDGE_BYTES,
    LIVE_NAME,
    AgentState,
    Found,
    Mark,
    find_mark,
    head_of,
    in_order,
    tail_of,
    whole_lines,
    with_mark,
)

log = structlog.get_logger(__name__)
LONGEST_PIECE: Final = 1 << 19  # bytes; as base64 in a dead letter it is still below the broker's limit of a message


class Line(NamedTuple):
    """A line with its end, and where it stands: the file by its first line's digest, for names change."""

    head: str
    offset: int
    raw: bytes


class Batch(NamedTuple):
    """Lines, and the state to be stored once they are all acknowledged. `full`: there was more than the limit."""

    lines: list[Line]
    state: AgentState
    full: bool


def look(directory: Path) -> list[Found]:
    """The journal's files as they are, oldest first; none if there is no journal yet."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(LIVE_NAME):
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:  # renamed just now
                        continue
                    found.append(Found(entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except FileNotFoundError:
        return []
    return in_order(found)


def waiting_bytes(found: list[Found], state: AgentState) -> tuple[int, int]:
    """(offset in the file that is being written, bytes of all files that are not acknowledged yet)."""
    offsets = {mark.inode: mark.offset for mark in state.files}
    live = next((offsets.get(file.inode, 0) for file in found if file.name == LIVE_NAME), 0)
    return live, sum(max(0, file.size - offsets.get(file.inode, 0)) for file in found)


def read_batch(directory: Path, found: list[Found], state: AgentState, limit_bytes: int) -> Batch:
    """The next lines of the journal, up to about `limit_bytes`. Raises OSError for a file that cannot be read."""
    lines: list[Line] = []
    left = limit_bytes
    done = {mark.as_read for mark in state.files}
    for file in found:
        if left <= 0:
            break
        if file.as_found in done:
            continue
        read = _read_file(directory, file, state.files, found, LONGEST_PIECE)
        if read is None:
            continue
        mark, new_lines = read
        if mark not in state.files:
            state = msgspec.structs.replace(state, files=with_mark(state.files, mark))
        lines += new_lines
        left -= sum(len(line.raw) for line in new_lines)
        if new_lines and mark.offset < file.size:
            # The rest of an older file comes before a newer one: it is not left for the sake of a small piece.
            return Batch(lines, state, full=True)
    return Batch(lines, state, full=left <= 0)


def known_again(directory: Path, found: list[Found], state: AgentState) -> AgentState:
    """The state with the marks of the files that are there, under the inodes that they have now."""
    marks = []
    heads = dict(known for file in found if (known := _head(directory, file)) is not None)
    for inode, head in heads.items():
        mark = find_mark(state.files, inode, head, {one for one in heads if heads[one] == head})
        if mark.offset:
            marks.append(mark)
    return msgspec.structs.replace(state, files=tuple(marks))


def _head(directory: Path, file: Found) -> tuple[int, str] | None:
    """Inode and head of the file that has this name now; None: it has no line yet, or is gone."""
    try:
        with (directory / file.name).open("rb") as opened:
            head = head_of(opened.read(EDGE_BYTES))
            return None if head is None else (os.fstat(opened.fileno()).st_ino, head)
    except FileNotFoundError:
        return None


def _inodes_of(directory: Path, found: list[Found], head: str) -> set[int]:
    """The inodes of the files that begin so."""
    heads = [_head(directory, file) for file in found]
    return {one[0] for one in heads if one is not None and one[1] == head}


def _read_file(
    directory: Path, file: Found, marks: tuple[Mark, ...], found: list[Found], limit: int
) -> tuple[Mark, list[Line]] | None:
    """The file's lines from its mark on, and the mark behind them. None: it is another file now, or has no line yet."""
    try:
        descriptor = os.open(directory / file.name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_ino != file.inode:
            return None
        head = head_of(os.pread(descriptor, EDGE_BYTES, 0))
        if head is None:
            return None
        mark = find_mark(marks, file.inode, head, ())
        if mark not in marks:  # a new file, or one that was copied: not where another stands that begins so
            mark = find_mark(marks, file.inode, head, _inodes_of(directory, found, head))
        before = max(0, mark.offset - EDGE_BYTES)
        data = os.pread(descriptor, mark.offset - before + limit, before)
    finally:
        os.close(descriptor)
    edge = mark.offset - before
    if len(data) < edge or tail_of(data[:edge]) != mark.tail:
        log.error(
            "the journal is not what was read: it is read again from its beginning",
            file=file.name, offset=mark.offset, size=file.size,
        )  # fmt: skip
        return Mark(file.inode, head, 0, tail_of(b"")), []
    lines = []
    offset = mark.offset
    for raw in whole_lines(data[edge:], limit):
        lines.append(Line(head, offset, raw))
        offset += len(raw)
    done = data[: edge + offset - mark.offset]
    return Mark(file.inode, head, offset, tail_of(done), file.modified_ns), lines
