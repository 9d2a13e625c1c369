"""A fake node's journal, where the node agent looks for it.

nodes/NODE/journal/Master.csv gets one whole line with one write in append mode, as Asterisk writes it; so a reader, and
a kill at any moment, never leave half a line before another. A file that was renamed meanwhile is left to its reader:
the next line makes a new one, as Asterisk does.
"""

import os
from pathlib import Path

JOURNAL: Path = Path("journal") / "Master.csv"


class NodeFilesError(Exception):
    """A file of the node cannot be read or written as it must be: names the file."""


class Journal:
    """The journal of one node, open for appending."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / JOURNAL
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = self._open()
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A torn last line of a machine that lost its power must not swallow the first line of this start.
            self.write(b"\n")

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _is_there(self) -> bool:
        """Whether the journal's name is still that of the file that is open."""
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        opened = os.fstat(self._descriptor)
        return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)

    def write(self, line: bytes) -> None:
        """Append one line (its line end included) with one write. Raises NodeFilesError where the disk takes less."""
        if not self._is_there():
            os.close(self._descriptor)
            self._descriptor = self._open()
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise NodeFilesError(f"{self.path}: {written} of {len(line)} bytes written: is the disk full?")

    def close(self) -> None:
        """Close the file; what was written stays in the kernel's hands either way."""
        os.close(self._descriptor)
