"""Timetables: by hand at their edges and where the clock jumps, and against the wall clock, minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariffs.timetable import Timetable, TimetableError, parse_timetable

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]
HOUR_MS = 3_600_000


def made(text: str, zone: str = "UTC") -> Timetable:
    timetable = parse_timetable(text, zone)
    assert timetable is not None
    return timetable


def at_ms(moment: str, zone: str = "UTC", fold: int = 0) -> int:
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(local.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "moment", "active"),
    [
        ("mon-fri 08:00-18:00", "2026-11-27T08:00:00", True),  # a Friday
        ("mon-fri 08:00-18:00", "2026-11-27T07:59:59.999", False),
        ("mon-fri 08:00-18:00", "2026-11-27T17:59:59.999", True),
        ("mon-fri 08:00-18:00", "2026-11-27T18:00:00", False),
        ("mon-fri 08:00-18:00", "2026-11-28T12:00:00", False),
        ("mon-fri 08:00-18:00, sat 09:00-13:00", "2026-11-28T12:00:00", True),
        ("fri 22:00-06:00", "2026-11-28T05:59:00", True),
        ("fri 22:00-06:00", "2026-11-28T06:00:00", False),
        ("fri 22:00-06:00", "2026-11-27T05:00:00", False),
        ("sun 22:00-06:00", "2026-11-30T01:00:00", True),  # over the week's end
        ("sun 22:00-06:00", "2026-11-30T06:00:00", False),
        ("sat-mon 10:00-11:00", "2026-11-29T10:30:00", True),
        ("sat-mon 10:00-11:00", "2026-12-01T10:30:00", False),
        ("daily 08:00-08:00", "2026-11-29T03:00:00", True),
        ("daily 00:00-24:00", "2026-11-29T23:59:59", True),
        ("daily 00:00-00:00", "2026-11-29T23:59:59", True),
    ],
)
def test_windows(text: str, moment: str, active: bool) -> None:
    assert made(text).at(at_ms(moment)).active is active


def test_it_says_until_when() -> None:
    timetable = made("mon-fri 08:00-18:00", "Europe/Berlin")
    assert timetable.at(at_ms("2026-11-27T09:30:17", "Europe/Berlin")) == (
        True,
        at_ms("2026-11-27T18:00:00", "Europe/Berlin"),
    )
    friday_evening = at_ms("2026-11-27T18:00:00", "Europe/Berlin")
    assert timetable.at(friday_evening) == (False, friday_evening + 24 * HOUR_MS)  # then it is asked again


def test_summer_time_moves_the_hours_in_utc() -> None:
    timetable = made("daily 08:00-18:00", "Europe/Berlin")
    assert timetable.at(at_ms("2026-03-28T07:00:00")).active  # winter: UTC + 1
    assert not timetable.at(at_ms("2026-03-28T06:30:00")).active
    assert timetable.at(at_ms("2026-03-29T06:30:00")).active  # summer: UTC + 2


def test_an_hour_that_is_left_out_and_one_that_comes_twice() -> None:
    timetable = made("daily 02:00-03:00", "Europe/Berlin")
    start = at_ms("2026-03-29T00:00:00")
    assert not any(timetable.at(start + minute * 60_000).active for minute in range(240))
    start = at_ms("2026-10-25T00:00:00")
    assert [minute for minute in range(240) if timetable.at(start + minute * 60_000).active] == list(range(120))
    # A window over the jump is told to end where the clock jumps, not an hour beside it.
    assert made("daily 01:00-02:30", "Europe/Berlin").at(at_ms("2026-03-29T00:30:00")) == (
        True,
        at_ms("2026-03-29T01:00:00"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "mon 8:00-18:00", "mon 08:00-25:00", "mon 24:00-08:00", "moon 08:00-18:00", "mon-fri", "mon  08:00-18:00",
        "mon 08:00-18:00,tue 08:00-18:00", "Mon 08:00-18:00", ", ", "mon ٠٨:00-18:00", "mon 08:00-18:00\n",
        ", ".join(["mon 08:00-18:00"] * 30),
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(TimetableError, match="timetable"):
        parse_timetable(text)


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "", "/etc/localtime"])
def test_a_time_zone_that_there_is_none_of_is_refused(zone: str) -> None:
    with pytest.raises(TimetableError, match="time zone"):
        parse_timetable("", zone)


def test_no_rule_is_always() -> None:
    assert parse_timetable("", "Europe/Berlin") is None


times = st.builds(lambda minute: f"{minute // 60:02}:{minute % 60:02}", st.integers(0, 1439))
spans = st.one_of(
    st.just("daily"), st.sampled_from(DAYS), st.builds("{}-{}".format, st.sampled_from(DAYS), st.sampled_from(DAYS))
)
rules = st.lists(st.tuples(spans, times, times | st.just("24:00")), min_size=1, max_size=4)


def shown(rule: tuple[str, str, str], local: datetime) -> bool:
    """Whether the wall clock shows a time of a rule: day by day, by the definition."""
    span, start, end = rule
    first, _, last = ("mon-sun" if span == "daily" else span).partition("-")
    day, days = DAYS.index(first), []
    while True:
        days.append(day)
        if day == DAYS.index(last or first):
            break
        day = (day + 1) % 7
    today, yesterday, clock = local.weekday(), (local.weekday() - 1) % 7, f"{local.hour:02}:{local.minute:02}"
    if end > start:
        return today in days and start <= clock < end
    return (today in days and clock >= start) or (yesterday in days and clock < end)


@settings(max_examples=300, deadline=None)
@given(
    rules=rules,
    zone=st.sampled_from(ZONES),
    now_s=st.integers(1_700_000_000, 1_900_000_000) | st.sampled_from([1_774_746_000, 1_792_890_000, 1_775_923_200]),
    near_s=st.integers(-90_000, 90_000),
)
def test_it_is_what_the_wall_clock_shows_and_stays_so_until_it_says(
    rules: list[tuple[str, str, str]], zone: str, now_s: int, near_s: int
) -> None:
    timetable = made(", ".join(f"{span} {start}-{end}" for span, start, end in rules), zone)
    now_ms = (now_s + near_s) * 1000

    def wall(ms: int) -> bool:
        local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone))
        return any(shown(rule, local) for rule in rules)

    moment = timetable.at(now_ms)
    assert now_ms < moment.until_ms <= now_ms + 24 * HOUR_MS
    assert moment.active is wall(now_ms)
    minute = now_ms - now_ms % 60_000
    samples = [now_ms, moment.until_ms - 1, *range(minute + 60_000, moment.until_ms, 60_000)]
    assert all(wall(ms) is moment.active for ms in samples)
