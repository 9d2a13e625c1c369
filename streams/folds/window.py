"""A sliding window of sums by key, each leg counted once: any order, any repeats, any cut into batches, the same sums.

Time is the moments of the events, in buckets; `now_ms` is handed in and only ever takes old buckets away. The ids of
the legs of a bucket are kept as long as the bucket, so a repeat finds itself there, or is as old as what is gone. All
of it can be made anew from the log: nothing here has to survive a process.
"""

from collections.abc import Hashable, Iterable
from operator import add, sub
from typing import Final, Generic, TypeVar

BUCKET_MS: Final = 10_000
AHEAD_MS: Final = 600_000  # what claims to have ended later than so long from now is not counted: a clock is wrong

Sums = tuple[int, ...]
Key = TypeVar("Key", bound=Hashable)


class Window(Generic[Key]):
    """Sums over the last `window_ms`. At `most_legs` the oldest bucket goes before its time, and the window is shorter
    for a while; a new key beyond `most_keys` is not counted. `lost` counts both: legs let go, and sums not kept.
    """

    def __init__(self, window_ms: int, width: int, *, most_legs: int, most_keys: int) -> None:
        """`width`: how many numbers a sum has."""
        self._buckets_kept = -(-window_ms // BUCKET_MS)
        self._zero: Sums = (0,) * width
        self._most_legs = most_legs
        self._most_keys = most_keys
        self._sums: dict[int, dict[Key, Sums]] = {}
        self._seen: dict[int, set[str]] = {}
        self._totals: dict[Key, Sums] = {}
        self._first = 0  # the oldest bucket that may be counted
        self.legs = 0
        self.lost = 0

    def __len__(self) -> int:
        """How many keys have sums."""
        return len(self._totals)

    def add(self, leg_id: str, at_ms: int, parts: Iterable[tuple[Key, Sums]], now_ms: int) -> bool:
        """Count a leg that ended at `at_ms` for each of its keys; whether it was new and of the window."""
        self.expire(now_ms)
        bucket = at_ms // BUCKET_MS
        if bucket < self._first or at_ms > now_ms + AHEAD_MS:
            return False
        seen = self._seen.setdefault(bucket, set())
        if leg_id in seen:
            return False
        seen.add(leg_id)
        self.legs += 1
        sums = self._sums.setdefault(bucket, {})
        for key, values in parts:
            total = self._totals.get(key)
            if total is None and len(self._totals) >= self._most_keys:
                self.lost += 1
                continue
            self._totals[key] = tuple(map(add, total or self._zero, values))
            sums[key] = tuple(map(add, sums.get(key, self._zero), values))
        while self.legs > self._most_legs:
            self._first = min(self._seen) + 1
            self.lost += self._drop_old()
        return True

    def has(self, leg_id: str, at_ms: int) -> bool:
        """Whether a leg of that moment has been counted, and is of the window still."""
        return leg_id in self._seen.get(at_ms // BUCKET_MS, ())

    def expire(self, now_ms: int) -> None:
        """Take away what is older than the window. A clock that goes back brings nothing back."""
        first = now_ms // BUCKET_MS - self._buckets_kept + 1
        if first > self._first:
            self._first = first
            self._drop_old()

    def since_ms(self) -> int:
        """The moment from which on all is counted."""
        return self._first * BUCKET_MS

    def total(self, key: Key) -> Sums:
        """The sums of a key over the whole window."""
        return self._totals.get(key, self._zero)

    def totals(self) -> dict[Key, Sums]:
        """All keys that have sums."""
        return dict(self._totals)

    def between(self, key: Key, from_ms: int, until_ms: int) -> Sums:
        """The sums of a key over the buckets that begin in [from_ms, until_ms)."""
        found = self._zero
        for bucket in range(-(-from_ms // BUCKET_MS), -(-until_ms // BUCKET_MS)):
            values = self._sums.get(bucket, {}).get(key)
            if values is not None:
                found = tuple(map(add, found, values))
        return found

    def _drop_old(self) -> int:
        """How many legs went."""
        before = self.legs
        for bucket in [bucket for bucket in self._seen if bucket < self._first]:
            self.legs -= len(self._seen.pop(bucket))
            for key, values in self._sums.pop(bucket).items():
                total = tuple(map(sub, self._totals[key], values))
                if any(total):
                    self._totals[key] = total
                else:
                    del self._totals[key]
        return before - self.legs
