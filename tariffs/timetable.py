"""Weekly timetables: when a route class or one of its routes is used, by the wall clock of a time zone. Pure.

A timetable is rules with ", " between them, each `DAYS HH:MM-HH:MM`; DAYS is `daily`, a day (`sat`) or a span of days
(`mon-fri`, `fri-mon`). An end at or before the beginning is on the day after: `fri 22:00-06:00` ends on Saturday, and
`daily 08:00-08:00` is always. No rule at all is always, too.

What counts is what the clock on the wall shows: an hour that summer time leaves out is in no window, one that it gives
twice is in its window twice. A zone's clock is taken to be put forward or back once in 24 hours at most.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = f"(?:{'|'.join(_DAYS)})"
_RULE: Final = re.compile(
    rf"(daily|{_DAY}(?:-{_DAY})?) ([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24:00))", re.ASCII
)
_DAY_MINUTES: Final = 1440
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES
_MINUTE_MS: Final = 60_000
_LONGEST_MS: Final = _DAY_MINUTES * _MINUTE_MS
MAX_TIMETABLE: Final = 500  # characters
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TimetableError(ValueError):
    """A text that is no timetable, or a time zone that there is none of: says which rule."""


class Moment(NamedTuple):
    """Whether the timetable holds, and until when (unix ms, UTC) that is certain to stay so; after it, ask again."""

    active: bool
    until_ms: int


class Timetable(NamedTuple):
    """Windows in minutes of a week of the wall clock, from Monday 00:00; a window over the week's end is cut in two."""

    windows: tuple[tuple[int, int], ...]
    edges: tuple[int, ...]
    zone: ZoneInfo

    def at(self, now_ms: int) -> Moment:
        """Whether `now_ms` lies in a window."""
        local = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(self.zone)
        minute = local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute
        active = any(start <= minute < end for start, end in self.windows)
        ahead = min(((edge - minute - 1) % _WEEK_MINUTES + 1 for edge in self.edges), default=_WEEK_MINUTES)
        until_ms = now_ms - now_ms % _MINUTE_MS + min(ahead, _DAY_MINUTES) * _MINUTE_MS
        return Moment(active, self._before_change(now_ms, until_ms))

    def _before_change(self, now_ms: int, until_ms: int) -> int:
        """`until_ms`, or the moment before it at which the zone's clock is put forward or back."""
        offset = self._offset(now_ms)
        if self._offset(until_ms) == offset:
            return until_ms
        same, other = now_ms, until_ms
        while other - same > 1:
            middle = (same + other) // 2
            if self._offset(middle) == offset:
                same = middle
            else:
                other = middle
        return other

    def _offset(self, at_ms: int) -> timedelta | None:
        return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self.zone).utcoffset()


@lru_cache(maxsize=4096)
def parse_timetable(text: str, time_zone: str = "UTC") -> Timetable | None:
    """The timetable of its text; None for the empty one: always. Raises TimetableError."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimetableError(
            f"time zone {time_zone[:64]!r}: must be one of the IANA database, as Europe/Berlin"
        ) from error
    if not text:
        return None
    if len(text) > MAX_TIMETABLE:
        raise TimetableError(f"timetable of {len(text)} characters: must be {MAX_TIMETABLE} at most")
    windows: list[tuple[int, int]] = []
    for rule in text.split(", "):
        windows += _windows(rule)
    windows = _merged(windows)
    edges = {minute % _WEEK_MINUTES for window in windows for minute in window}
    return Timetable(tuple(windows), tuple(sorted(edges)), zone)


def _windows(rule: str) -> list[tuple[int, int]]:
    match = _RULE.fullmatch(rule)
    if match is None:
        raise TimetableError(
            f"timetable rule {rule[:60]!r}: must be days and hours as 'mon-fri 08:00-18:00', 'sat 22:00-06:00' or"
            " 'daily 00:00-24:00', with ', ' between rules"
        )
    days, from_hour, from_minute, to_hour, to_minute, midnight = match.groups()
    start = int(from_hour) * 60 + int(from_minute)
    end = _DAY_MINUTES if midnight else int(to_hour) * 60 + int(to_minute)
    length = (end - start - 1) % _DAY_MINUTES + 1
    found: list[tuple[int, int]] = []
    for day in _days(days):
        begin = day * _DAY_MINUTES + start
        found.append((begin, min(begin + length, _WEEK_MINUTES)))
        if begin + length > _WEEK_MINUTES:
            found.append((0, begin + length - _WEEK_MINUTES))
    return found


def _days(days: str) -> list[int]:
    if days == "daily":
        return list(range(7))
    first, _, last = days.partition("-")
    begin = _DAYS.index(first)
    count = (_DAYS.index(last or first) - begin) % 7 + 1
    return [(begin + more) % 7 for more in range(count)]


def _merged(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Windows that touch become one, so that an edge is a change, but at the week's end."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
