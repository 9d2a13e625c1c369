"""Thousands of calls in one process: a heap of timed steps over the simulator's own clock.

The clock maps real time to the simulator's (unix milliseconds): at speedup 1 they are the same; above, it starts in the
past and runs faster. The scheduler never lets it run ahead of undone steps: when work lags, the clock lags with it, so
that a step always happens at its own moment; and it never passes the present.
"""

import heapq
import itertools
import time
from collections.abc import Callable

Step = Callable[[], None]


class Clock:
    """The simulator's time. `start_ms` is where it begins; `real_ms` tells the real time, passed in for tests."""

    def __init__(self, start_ms: int, speedup: float, real_ms: Callable[[], float]) -> None:
        self._start_ms = start_ms
        self._speedup = speedup
        self._real_ms = real_ms
        self._real_start_ms = real_ms()

    def target_ms(self) -> int:
        """Where the clock ought to stand now."""
        elapsed_ms = self._real_ms() - self._real_start_ms
        wanted_ms = self._start_ms + elapsed_ms * self._speedup
        return int(min(wanted_ms, self._real_start_ms + elapsed_ms))

    def real_seconds_until(self, at_ms: int) -> float:
        """Real seconds until the clock ought to stand there."""
        return max(0.0, (at_ms - self.target_ms()) / 1_000 / self._speedup)


def real_ms() -> float:
    """The real time in unix milliseconds, advanced by the monotonic clock alone once the process runs."""
    return _WALL_START_MS + (time.monotonic() - _MONOTONIC_START) * 1_000


_WALL_START_MS = time.time() * 1_000
_MONOTONIC_START = time.monotonic()


class Timer:
    """A step that waits; `cancelled` ones are dropped when their moment comes."""

    __slots__ = ("at_ms", "cancelled", "step")

    def __init__(self, at_ms: int, step: Step) -> None:
        self.at_ms = at_ms
        self.step = step
        self.cancelled = False


class Scheduler:
    """The heap. `now_ms` never goes back, and stands at a step's own moment while that step runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = itertools.count()
        self._now_ms = clock.target_ms()
        self._in_step = False

    def now_ms(self) -> int:
        """The simulator's time: the running step's moment; else the clock's, or the oldest undone step's if earlier."""
        if self._in_step:
            return self._now_ms
        target_ms = self._clock.target_ms()
        self._drop_cancelled()
        if self._heap and self._heap[0][0] < target_ms:
            target_ms = self._heap[0][0]
        self._now_ms = max(self._now_ms, target_ms)
        return self._now_ms

    def at(self, at_ms: int, step: Step) -> Timer:
        """Run a step at a moment; one in the past is run at once, at the present moment."""
        timer = Timer(max(at_ms, self._now_ms), step)
        heapq.heappush(self._heap, (timer.at_ms, next(self._sequence), timer))
        return timer

    def run_due(self, most_steps: int) -> int:
        """Run up to so many steps whose moment has come; how many were run."""
        target_ms = self._clock.target_ms()
        done = 0
        while done < most_steps and self._heap and self._heap[0][0] <= target_ms:
            at_ms, _, timer = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self._now_ms = max(self._now_ms, at_ms)
            self._in_step = True
            try:
                timer.step()
            finally:
                self._in_step = False
            done += 1
        return done

    def seconds_until_next(self) -> float | None:
        """Real seconds until the next step is due (0: now); None: nothing waits."""
        self._drop_cancelled()
        return self._clock.real_seconds_until(self._heap[0][0]) if self._heap else None

    def lag_ms(self) -> int:
        """How far the oldest undone step is behind where the clock ought to stand."""
        self._drop_cancelled()
        return max(0, self._clock.target_ms() - self._heap[0][0]) if self._heap else 0

    def _drop_cancelled(self) -> None:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
