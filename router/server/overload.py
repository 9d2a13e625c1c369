"""When the router has more to do than it can: the next calls are refused at once, and those it has taken stay fast.

Two lines can grow: that for the processor (the event loop comes late to everything) and that for PostgreSQL. Each has
its rule here, pure: times are handed in, in monotonic seconds. A machine that was busy with something else for a moment
is no overload, nor is a database that does not answer at all: for that there is a policy by account (admission.py).
"""

from typing import Final

LASTING_SECONDS: Final = 0.1  # the loop must have been late for so long, without a break
CALM_SECONDS: Final = 1.0  # after so long without being late, the next lateness must last anew
FEW_WAITING: Final = 32  # calls that wait for PostgreSQL; so many are a moment's crowd, and never too many
FEW_OPEN: Final = 64  # sessions; with so few it is the machine that is busy, and to refuse calls would not help it


class LoopLag:
    """The event loop's lateness. It is told each tick how late it came, and says whether to refuse until the next.

    Overload begins when all ticks of LASTING_SECONDS came later than `most_seconds`; from then on each single tick
    decides, so that a call is taken again as soon as there is time for it, until CALM_SECONDS have passed in time.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._late_since: float | None = None
        self.late_seconds = 0.0  # of the last tick
        self._late_at = 0.0
        self._lasting = False
        self.refuses = False

    def tick(self, now: float, late_seconds: float) -> None:
        """A tick came at `now`, `late_seconds` after it should have."""
        self.late_seconds = late_seconds
        if late_seconds > self._most_seconds:
            if self._late_since is None:
                self._late_since = now - late_seconds
            self._late_at = now
            self._lasting = self._lasting or now - self._late_since >= LASTING_SECONDS
            self.refuses = self._lasting
            return
        self._late_since = None
        self.refuses = False
        if now - self._late_at > CALM_SECONDS:
            self._lasting = False


class Line:
    """Calls that wait for PostgreSQL, in the order in which they came."""

    def __init__(self, most_seconds: float) -> None:
        """`most_seconds`: as long as the first of the line may have waited when another one comes."""
        self._most_seconds = most_seconds
        self._since: dict[object, float] = {}
        self._answered_at = 0.0

    def __len__(self) -> int:
        return len(self._since)

    def enter(self, ticket: object, now: float) -> None:
        """A call begins to wait."""
        self._since[ticket] = now

    def leave(self, ticket: object, now: float, *, answered: bool) -> None:
        """It has its answer, or waits no longer."""
        self._since.pop(ticket, None)
        if answered:
            self._answered_at = now

    def first_seconds(self, now: float) -> float:
        """For how long the first has waited."""
        return now - next(iter(self._since.values()), now)

    def refuses(self, now: float) -> bool:
        """Whether the line is too long for another call: many wait, the first for too long, though answers come."""
        if len(self._since) <= FEW_WAITING:
            return False
        return self.first_seconds(now) > self._most_seconds and now - self._answered_at < self._most_seconds
