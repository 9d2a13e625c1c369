"""Follows the journal for what becomes of INVITEs: from its end on, as it is written, Kafka there or not.

Apart from the relay, which stands still while Kafka is away: whether a vendor answers must be known then, too. Nothing
is kept: what was written while no agent was there is too old to say anything.
"""

import os
import time
from pathlib import Path
from typing import Final

from agent.ami.invites import Invite, read_invite
from agent.journal.files import look, read_batch
from agent.journal.marks import EDGE_BYTES, AgentState, Found, Mark, head_of, tail_of, without_marks

_BATCH_BYTES: Final = 1 << 20
_LAST_LINE_BYTES: Final = 1 << 16  # more than a line has
_MOST_AGE_SECONDS: Final = 60.0  # a journal that is read from its beginning again tells of old INVITEs


class InvitesTail:
    """`read` gives what was written since. Raises OSError where the journal cannot be read."""

    def __init__(self, journal: Path) -> None:
        """Begins at the end of what is there."""
        self._journal = journal
        marks = (_mark_at_end(journal, found) for found in look(journal))
        self._state = AgentState(files=tuple(mark for mark in marks if mark is not None))

    def read(self) -> list[Invite]:
        """The INVITEs that have ended since, in the order of their lines."""
        found = look(self._journal)
        gone = {mark.inode for mark in self._state.files} - {file.inode for file in found}
        batch = read_batch(self._journal, found, without_marks(self._state, gone), _BATCH_BYTES)
        self._state = batch.state
        invites = (read_invite(line.raw) for line in batch.lines)
        oldest = time.time() - _MOST_AGE_SECONDS
        return [invite for invite in invites if invite is not None and invite.ended_at >= oldest]


def _mark_at_end(journal: Path, found: Found) -> Mark | None:
    """Behind the last whole line of a file; None: it has none yet, or is gone."""
    try:
        descriptor = os.open(journal / found.name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        stat = os.fstat(descriptor)
        size = stat.st_size
        head = head_of(os.pread(descriptor, EDGE_BYTES, 0))
        start = max(0, size - _LAST_LINE_BYTES)
        data = os.pread(descriptor, size - start, start)
    finally:
        os.close(descriptor)
    end = data.rfind(b"\n") + 1
    if head is None or not end:
        return None
    return Mark(stat.st_ino, head, start + end, tail_of(data[:end]), stat.st_mtime_ns)
