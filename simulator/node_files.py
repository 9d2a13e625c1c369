"""A fake node's files, where the node agent looks for them: the journal and the epoch of this start.

nodes/NODE/journal/Master.csv gets one whole line with one write in append mode, as Asterisk writes it; so a reader, and
a kill at any moment, never leave half a line before another.
"""

import os
from pathlib import Path

JOURNAL: Path = Path("journal") / "Master.csv"
EPOCH: Path = Path("epoch")
_EPOCH_DIGITS = 10


class NodeFilesError(Exception):
    """A file of the node cannot be read or written as it must be: names the file."""


def issue_epoch(directory: Path, now_seconds: int) -> int:
    """A new epoch for this start: above every one before, and not below the clock. It is kept before it is used."""
    path = directory / EPOCH
    directory.mkdir(parents=True, exist_ok=True)
    text = path.read_text().strip() if path.exists() else "0"
    if not (text.isascii() and text.isdigit() and len(text) <= _EPOCH_DIGITS):
        raise NodeFilesError(f"{path}: {text[:40]!r} is no epoch: must be unix seconds")
    epoch = max(int(text) + 1, now_seconds)
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        file.write(f"{epoch}\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return epoch


class Journal:
    """The journal of one node, open for appending."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / JOURNAL
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A torn last line of a machine that lost its power must not swallow the first line of this start.
            self.write(b"\n")

    def write(self, line: bytes) -> None:
        """Append one line (its line end included) with one write. Raises NodeFilesError where the disk takes less."""
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise NodeFilesError(f"{self.path}: {written} of {len(line)} bytes written: is the disk full?")

    def close(self) -> None:
        """Close the file; what was written stays in the kernel's hands either way."""
        os.close(self._descriptor)
