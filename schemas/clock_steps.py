"""Talk that the wall clock measured, corrected for the steps of that clock. Pure.

Asterisk's lengths are differences of wall times: where somebody sets the machine's clock in mid-call they are wrong by
the step. The node agent reads both of the machine's clocks each second (agent/clock.py). As long as the wall
clock is not set, its offset to the monotonic clock is the same; each new offset begins a `Stretch`.

    offset 1000 until 60.0 s (monotonic), 31000 from 60.2 s on; a leg ends at wall 96,000 with a length of 40,000 ms
    its end    96,000 - 31,000 = 65.0 s                          in the second stretch
    its answer 96,000 - 40,000 = 56,000 - 1,000 = 55.0 s         in the first one
    it has talked 10.0 s, not 40.0

A wall time of a clock that was set back exists twice: after a step of an hour backwards, ten minutes by the wall may be
ten minutes, or an hour more if the leg was answered before the step. Where more than one reading is possible the latest
end is taken, because lines are read as they come, and of those the shortest talk; and the leg is flagged. So is one
that was up while Asterisk's clock and the agent's moved apart, which cannot happen where they are one machine's.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

EDGE_MS: Final = 1_000  # that a line may be ahead of the newest reading of the clocks
MAX_STRETCHES: Final = 64  # the newest are kept
MIN_STEP_MS: Final = 5  # a smaller one is the noise of two readings


class Stretch(NamedTuple):
    """The wall clock between two settings: wall = monotonic + offset. First and last reading by the monotonic clock."""

    offset_ms: int
    first_ms: int
    last_ms: int


class Doubt(NamedTuple):
    """Between these monotonic times Asterisk's clock and the agent's moved apart."""

    first_ms: int
    last_ms: int


class Clock(NamedTuple):
    """What is known of a node's wall clock: its stretches in their order, and the doubts."""

    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[Doubt, ...] = ()


UNKNOWN: Final = Clock()  # of a journal whose agent is not asked: lengths are taken as they are


class Talk(NamedTuple):
    """How long a leg has talked. `is_sure`: no other length is possible."""

    length_ms: int
    is_sure: bool


def read_clock(clock: Clock, wall_ms: int, monotonic_ms: int) -> Clock:
    """The clock after one more reading of both at once."""
    if not clock.stretches:
        return Clock((Stretch(wall_ms - monotonic_ms, monotonic_ms, monotonic_ms),), clock.doubts)
    *before, last = clock.stretches
    if abs(wall_ms - monotonic_ms - last.offset_ms) < MIN_STEP_MS:
        return Clock((*before, last._replace(last_ms=max(last.last_ms, monotonic_ms))), clock.doubts)
    new = Stretch(wall_ms - monotonic_ms, monotonic_ms, monotonic_ms)
    return Clock((*before, last, new)[-MAX_STRETCHES:], clock.doubts)


def talk_of(clock: Clock, ended_at_ms: int, length_ms: int) -> Talk:
    """The talk of a leg that ended at that wall time after that length by the wall clock."""
    stretches = clock.stretches
    if not stretches:
        return Talk(max(0, length_ms), length_ms >= 0)
    found = []
    for end in range(len(stretches)):
        end_ms = ended_at_ms - stretches[end].offset_ms
        if not _is_within(stretches, end, end_ms):
            continue
        for answer in range(end + 1):
            answer_ms = ended_at_ms - length_ms - stretches[answer].offset_ms
            if answer_ms <= end_ms and _is_within(stretches, answer, answer_ms):
                found.append((-end_ms, end_ms - answer_ms))
    if not found:
        return Talk(max(0, length_ms), is_sure=False)
    end_ms, talk_ms = -min(found)[0], min(found)[1]
    in_doubt = any(doubt.first_ms <= end_ms and end_ms - talk_ms <= doubt.last_ms for doubt in clock.doubts)
    return Talk(talk_ms, len({one_ms for _, one_ms in found}) == 1 and not in_doubt)


def _is_within(stretches: Sequence[Stretch], at: int, monotonic_ms: int) -> bool:
    """Whether a stretch may have been in force then. It was set at some time between two readings."""
    after_ms = stretches[at - 1].last_ms if at else monotonic_ms
    before_ms = stretches[at + 1].first_ms if at + 1 < len(stretches) else stretches[at].last_ms + EDGE_MS
    return after_ms <= monotonic_ms <= before_ms
