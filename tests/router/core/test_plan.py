"""Route classes that fall back to a base, and the times of classes and entries: who is tried when, and why not else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from snapshots import EXPECTED_SECONDS, NOW_MS, RawWorld, make_snapshot, peer

from router.core import Decision, Request, World, candidates, decide
from router.snapshot.config import RouteClass, RouteEntry
from router.snapshot.store import Snapshot

ASKED = Request("c-c1", "127.0.1.1:5060", "447700900123", "12125550123")
COSTS = {11: 1_000_000, 12: 1_100_000, 13: 1_200_000, 14: 1_300_000}
HOUR_MS = 3_600_000
Made = Callable[..., Snapshot]


def entry(number: int, priority: int = 1, **changes: object) -> RouteEntry:
    return RouteEntry(number, priority, changes.pop("enabled", True) is True, **changes)  # type: ignore[arg-type]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """The snapshot of customer 1 with class 1, vendors 11 to 14 (the cheapest first), and these classes."""

    def make(*classes: RouteClass) -> Snapshot:
        vendors = [peer(number, originator=False) for number in COSTS]
        prices: Mapping[int, list[tuple[str, int, int | None]]] = {
            1: [("44", 0, 2_000_000)],
            **{number: [("44", 0, cost)] for number, cost in COSTS.items()},
        }
        return make_snapshot(tmp_path, RawWorld([peer(1, originator=True), *vendors], prices, [], classes=classes))

    return make


def decided(snapshot: Snapshot, now_ms: int = NOW_MS) -> Decision:
    return decide(World(snapshot), ASKED, now_ms, expected_seconds=EXPECTED_SECONDS)


def taken(snapshot: Snapshot, now_ms: int = NOW_MS) -> list[str]:
    return [route.vendor.name for route in decided(snapshot, now_ms).routes]


def verdicts(snapshot: Snapshot, now_ms: int = NOW_MS) -> dict[str, str]:
    return {one.vendor: str(one.verdict) for one in candidates(decided(snapshot, now_ms))}


def test_own_entries_come_before_those_of_the_base_and_of_its_base(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(14, priority=9),), base_class_id=2),
        RouteClass(2, "base", (entry(13, priority=2), entry(12, priority=3)), base_class_id=3),
        RouteClass(3, "last", (entry(11, priority=0),)),
    )
    assert taken(snapshot) == ["v14", "v13", "v12", "v11"]
    seen = {one.vendor: one.route_class for one in candidates(decided(snapshot))}
    assert seen == {"v14": "", "v13": "base", "v12": "base", "v11": "last"}
    assert [route.placed.depth for route in decided(snapshot).routes] == [0, 1, 1, 2]


def test_a_vendor_of_both_stands_where_the_nearer_class_has_it(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(13, ring_seconds=7),), base_class_id=2),
        RouteClass(2, "base", (entry(11), entry(13, ring_seconds=9))),
    )
    assert taken(snapshot) == ["v13", "v11"]
    assert decided(snapshot).routes[0].entry.ring_seconds == 7


def test_a_disabled_entry_hides_that_of_the_base(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(11, enabled=False),), base_class_id=2),
        RouteClass(2, "base", (entry(11), entry(12))),
    )
    assert taken(snapshot) == ["v12"]
    assert verdicts(snapshot)["v11"] == "DISABLED"


def test_a_circle_that_got_past_the_database_ends(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(12),), base_class_id=2), RouteClass(2, "base", (entry(11),), base_class_id=1)
    )
    assert taken(snapshot) == ["v12", "v11"]


def test_a_class_outside_its_timetable_leaves_it_to_its_base(made: Made) -> None:
    day = RouteClass(
        1, "day", (entry(13), entry(12)), base_class_id=2, timetable="mon-fri 08:00-18:00", time_zone="Europe/Berlin"
    )
    snapshot = made(day, RouteClass(2, "base", (entry(11), entry(12))))
    morning = int(datetime(2026, 11, 27, 7, 0, tzinfo=UTC).timestamp() * 1000)  # Friday, 8 o'clock in Berlin
    assert taken(snapshot, morning - 1) == ["v11", "v12"]
    assert verdicts(snapshot, morning - 1) == {"v11": "TAKEN", "v12": "TAKEN", "v13": "OUTSIDE TIMETABLE"}
    assert taken(snapshot, morning) == ["v12", "v13", "v11"]
    assert taken(snapshot, morning + 10 * HOUR_MS - 1) == ["v12", "v13", "v11"]
    assert taken(snapshot, morning + 10 * HOUR_MS) == ["v11", "v12"]
    assert taken(snapshot, morning) == ["v12", "v13", "v11"]  # asked for another time, as a check does


def test_a_class_and_an_entry_begin_and_end(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(13),), base_class_id=2, active_from_ms=NOW_MS, active_until_ms=NOW_MS + 10),
        RouteClass(2, "base", (entry(11, active_from_ms=NOW_MS + 5), entry(12, active_until_ms=NOW_MS + 7))),
    )
    assert verdicts(snapshot, NOW_MS - 1) == {"v11": "NOT ACTIVE", "v12": "TAKEN", "v13": "CLASS NOT ACTIVE"}
    assert taken(snapshot, NOW_MS) == ["v13", "v12"]
    assert taken(snapshot, NOW_MS + 5) == ["v13", "v11", "v12"]
    assert taken(snapshot, NOW_MS + 7) == ["v13", "v11"]
    assert taken(snapshot, NOW_MS + 10) == ["v11"]


def test_an_entry_has_a_timetable_in_its_classs_time_zone(made: Made) -> None:
    snapshot = made(
        RouteClass(1, "own", (entry(11, timetable="fri 12:00-13:00"), entry(12)), time_zone="America/New_York")
    )
    noon = int(datetime(2026, 11, 27, 17, 0, tzinfo=UTC).timestamp() * 1000)
    assert taken(snapshot, noon) == ["v11", "v12"]
    assert verdicts(snapshot, noon + HOUR_MS) == {"v11": "OUTSIDE TIMETABLE", "v12": "TAKEN"}


def test_the_plan_is_kept_until_something_changes(made: Made) -> None:
    snapshot = made(RouteClass(1, "own", (entry(11, active_until_ms=NOW_MS + 100), entry(12))))
    first = decided(snapshot).plan
    assert decided(snapshot, NOW_MS + 99).plan is first
    assert decided(snapshot, NOW_MS + 100).plan is not first
