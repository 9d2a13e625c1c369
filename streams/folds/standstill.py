"""Does a partition stand still: messages wait in it, and what is committed has not moved for too long? Pure."""

from collections.abc import Mapping
from typing import NamedTuple


class Partition(NamedTuple):
    """One of a topic."""

    topic: str
    number: int


class Progress(NamedTuple):
    """Offsets as the broker knows them: the next one to read for the group, and the next one to be written."""

    committed: int
    end: int


class Standstill(NamedTuple):
    """A partition that has waited for too long."""

    partition: Partition
    progress: Progress
    seconds: float


class Standing:
    """Remembers since when each partition's committed offset is where it is. Times: monotonic seconds, handed in."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._since: dict[Partition, tuple[int, float]] = {}

    def look(self, now: float, seen: Mapping[Partition, Progress]) -> list[Standstill]:
        """Those of `seen` that have stood still for too long. What is no longer seen is forgotten."""
        since: dict[Partition, tuple[int, float]] = {}
        found = []
        for partition, progress in seen.items():
            if progress.committed >= progress.end:
                continue  # nothing waits: an idle partition may stand as long as it likes
            committed, begun = self._since.get(partition, (progress.committed, now))
            if committed != progress.committed:
                begun = now
            since[partition] = (progress.committed, begun)
            if now - begun > self._patience_seconds:
                found.append(Standstill(partition, progress, now - begun))
        self._since = since
        return found
