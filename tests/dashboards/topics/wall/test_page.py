"""The wall's last hour: sixty whole minutes, with what ended in each and what went on."""

from types import SimpleNamespace
from typing import Any

from made_traffic import make_live

from dashboards.kit.live import LiveStore
from dashboards.topics.wall.page import last_hour
from schemas.topics import ACTIVE_CALLS

NOW_MS = 1_795_000_050_000  # half a minute into one
RUNNING = NOW_MS // 60_000 * 60


class Queries:
    """ClickHouse's rows by the name of the question."""

    def __init__(self, **rows: list[dict[str, int]]) -> None:
        self.rows = rows

    def minutes(self, name: str) -> list[dict[str, int]]:
        return self.rows.get(name, [])


def test_an_hour_of_minutes_without_the_one_that_runs() -> None:
    store = LiveStore()
    for number, age_seconds in ((1, 10), (2, 90), (3, 4_000)):
        live = make_live(number, NOW_MS - age_seconds * 1000, answered_ms=NOW_MS - age_seconds * 1000)
        store.put(ACTIVE_CALLS.name, live.key, live.value, NOW_MS)
    queries = Queries(
        attempts_by_minute=[{"minute": RUNNING - 60, "attempts": 7}, {"minute": RUNNING, "attempts": 99}],
        concurrent_by_minute=[{"minute": RUNNING - 120, "concurrent": 5}],
    )
    sources: Any = SimpleNamespace(queries=queries)
    minutes = last_hour(sources, store.view(), NOW_MS)
    assert [minute.at for minute in minutes] == list(range(RUNNING - 3_600, RUNNING, 60))
    assert [minute.attempts for minute in minutes[-2:]] == [0, 7]
    # Of those that go on: one for longer than the hour, one since 90 seconds; the youngest began in this minute.
    assert [minute.concurrent for minute in minutes[-3:]] == [1, 1 + 5, 2]
    assert minutes[0].concurrent == 1
    assert all(minute.sums.figure("calls").attempts == 0 for minute in minutes)
