"""When a component that ended is started again. Pure: times are handed in, in monotonic seconds.

Waits double from half a second to fifteen; a minute of health forgets what was before. Too many ends in a short time
means that starting it again does not help: then it stays down, and is shown as failed.
"""

from dataclasses import dataclass
from typing import Final

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 15.0
FORGIVEN_AFTER_SECONDS: Final = 60.0
MOST_ENDS: Final = 20
WITHIN_SECONDS: Final = 600.0


@dataclass(frozen=True)
class History:
    """The ends of a component: when (oldest first, within WITHIN_SECONDS), and how many in a row."""

    ends: tuple[float, ...] = ()
    in_a_row: int = 0


def ended(history: History, now: float, healthy_seconds: float) -> History:
    """The history after one more end, before which it had been healthy for `healthy_seconds`."""
    recent = tuple(end for end in history.ends if now - end < WITHIN_SECONDS)
    in_a_row = 1 if healthy_seconds >= FORGIVEN_AFTER_SECONDS else history.in_a_row + 1
    return History((*recent, now), in_a_row)


def wait_seconds(history: History) -> float | None:
    """How long to wait before the next start; None: give up."""
    if len(history.ends) > MOST_ENDS:
        return None
    doubled: float = FIRST_WAIT_SECONDS * 2.0 ** min(max(0, history.in_a_row - 1), 10)
    return min(LONGEST_WAIT_SECONDS, doubled)
