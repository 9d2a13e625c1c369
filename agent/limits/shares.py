"""A node's shares of the vendors' limits, between its Asterisk and PostgreSQL. Pure.

Asterisk keeps them in global variables (extensions.conf, [limits]): per key LC_key calls at once, LS_key calls per
second, LA_key how many legs have been let through, LX_key how often a route was passed over; and until when they hold.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

UNTIL: Final = "LIMITS_UNTIL"
_NO_CONCURRENT: Final = "1000000"  # more than any node carries
_NO_CPS: Final = "-"
_REMEMBERED: Final = 5  # readings: what was wanted in one of them is wanted
MOST_READ: Final = 300  # keys a round, beside those that must be


class Share(NamedTuple):
    """What the node may use of a limit; None: it has no limit of that kind."""

    concurrent: int | None
    cps: int | None


class Told(NamedTuple):
    """What Asterisk's variables of a share are: texts, empty where there is none."""

    concurrent: str = ""
    cps: str = ""


class Reading(NamedTuple):
    """What Asterisk says of a key: calls that go on, and its two counts."""

    used: int
    passed: int
    refused: int


class Report(NamedTuple):
    """What PostgreSQL is told of a key (schemas/postgres/functions/lease_limits.sql)."""

    limit_key: str
    concurrent: int
    cps: int
    used: int
    concurrent_wanted: int
    cps_wanted: int
    refused: int


def told_names(key: str) -> tuple[str, str]:
    """The variables of a share."""
    return f"LC_{key}", f"LS_{key}"


def reading_names(key: str) -> tuple[str, str, str]:
    """What is asked for a reading."""
    return f"GROUP_COUNT({key}@{key[0]})", f"LA_{key}", f"LX_{key}"


def reading_of(values: Iterable[str]) -> Reading:
    """The reading that the answers are."""
    return Reading(*(_whole(value) for value in values))


def told_of(share: Share) -> Told:
    """The variables' texts for a share."""
    concurrent = _NO_CONCURRENT if share.concurrent is None else str(share.concurrent)
    return Told(concurrent, _NO_CPS if share.cps is None else str(share.cps))


def changes(shares: Mapping[str, Share], told: Mapping[str, Told]) -> dict[str, Told]:
    """What Asterisk is to be told so that it has these shares and no others."""
    wanted = {key: told_of(share) for key, share in shares.items()}
    wanted |= {key: Told() for key in told.keys() - shares.keys()}  # is no limit any more
    return {key: one for key, one in wanted.items() if told.get(key, Told()) != one}


class Usage:
    """What each limit was used for, and so how much of it the node wants."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._wanted: dict[str, deque[tuple[int, int]]] = {}
        self._read_at: dict[str, float] = {}

    def due(self, keys: Collection[str], must: Collection[str]) -> list[str]:
        """The keys to be read in this round: those that `must` be, those in use, and the others in turn.

        A key must be read when its share was lowered: else what goes on is within what was told.
        """
        first = {key for key in keys if key in must or key not in self._readings}
        others = sorted(
            (key for key in keys if key not in first),
            key=lambda key: (not any(map(any, self._wanted.get(key, ()))), self._read_at.get(key, 0.0)),
        )
        turn = sorted(others, key=lambda key: self._read_at.get(key, 0.0))[: MOST_READ // 3]
        return [*first, *dict.fromkeys((*turn, *others[: MOST_READ - len(turn)]))]

    def read(self, key: str, reading: Reading, told: Told, now: float) -> None:
        """A reading at `now` (seconds of any clock that only goes on)."""
        last = self._readings.get(key, reading)
        # Counts that have gone back are those of another start of Asterisk.
        refused, passed = max(0, reading.refused - last.refused), max(0, reading.passed - last.passed)
        seconds = max(1, round(now - self._read_at.get(key, now)))
        is_full = reading.used >= _whole(told.concurrent)
        wanted = self._wanted.setdefault(key, deque(maxlen=_REMEMBERED))
        wanted.append((reading.used + (refused if is_full else 0), -(-(passed + refused) // seconds)))
        self._readings[key] = reading
        self._read_at[key] = now

    def reports(self, told: Mapping[str, Told]) -> list[Report]:
        """The reports of all that was ever read, for what Asterisk has been told."""
        found = []
        for key, reading in self._readings.items():
            now = told.get(key, Told())
            share = 0 if now.concurrent == _NO_CONCURRENT else _whole(now.concurrent)
            cps = 0 if now.cps == _NO_CPS else _whole(now.cps)
            wanted = self._wanted[key]
            most = max(one[0] for one in wanted), max(one[1] for one in wanted)
            found.append(Report(key, max(share, reading.used), cps, reading.used, *most, reading.refused))
        return found

    def forget(self, keys: Collection[str]) -> None:
        """Limits that are no more."""
        for key in keys:
            for rows in (self._readings, self._wanted, self._read_at):
                rows.pop(key, None)

    @property
    def used(self) -> dict[str, int]:
        """Calls that go on, by key."""
        return {key: reading.used for key, reading in self._readings.items()}


def reports_as_rows(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """As the statement takes them."""
    return [report._asdict() for report in reports]


def is_lowered(before: Told, now: Told) -> bool:
    """Whether less may be used than before."""
    return _whole(now.concurrent) < _whole(before.concurrent) or before.concurrent == _NO_CONCURRENT


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
