"""A sliding window of sums by key, each leg counted once: any order, any repeats, any cut into batches, the same sums.

Time is the moments of the events, in buckets; `now_ms` is handed in and only ever takes old buckets away. The ids of
the legs of a bucket are kept as long as the bucket, so a repeat finds itself there, or is as old as what is gone. All
of it can be made anew from the log: nothing here has to survive a process.

A key has a total exactly as long as a bucket has sums of it, whatever the total is. A total of zero does not mean that
nothing is left. An answered call of 60 s in one bucket, an unanswered one in the next:

    buckets of customer 8         total       buckets with sums of 8
    10:00:00 (60000)              (60000)     1
    10:00:10 (0)                  (60000)     2
    10:00:00 expires              (0)         1    the total stays: 10:00:10 is still to be subtracted
    10:00:10 expires              none        0    the key is removed
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
        self._bucket_counts: dict[Key, int] = {}  # in how many buckets a key has sums; the same keys as the totals
        self._first = 0  # the oldest bucket that may be counted
        self.legs = 0
        self.lost = 0

    def __len__(self) -> int:
        """How many keys have sums."""
        return len(self._totals)

    def add(self, leg_id: str, at_ms: int, parts: Iterable[tuple[Key, Sums]], now_ms: int) -> bool:
        """Count a leg that ended at `at_ms` for each of its keys; whether it was new and of the window.

        A leg has one `at_ms`: a repeat is recognised in the bucket of that time only.
        """
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
            if key not in self._totals and len(self._totals) >= self._most_keys:
                self.lost += 1
                continue
            if key not in sums:
                self._bucket_counts[key] = self._bucket_counts.get(key, 0) + 1
            self._totals[key] = tuple(map(add, self._totals.get(key, self._zero), values))
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
        """All keys that have sums in a bucket of the window, those whose sums are zero too."""
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
        """Subtract the buckets before `_first`; how many legs went."""
        before = self.legs
        for bucket in [bucket for bucket in self._seen if bucket < self._first]:
            self.legs -= len(self._seen.pop(bucket))
            for key, values in self._sums.pop(bucket).items():
                if self._bucket_counts[key] == 1:
                    del self._bucket_counts[key], self._totals[key]
                else:
                    self._bucket_counts[key] -= 1
                    self._totals[key] = tuple(map(sub, self._totals[key], values))
        return before - self.legs
