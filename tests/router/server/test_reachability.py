"""The rule for vendors that do not answer: against an oracle that counts everything anew, and the shell around it."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.server.reach import Reach, Try, by_node, unreachable_in
from router.server.reachability import (
    SILENT_INVITES,
    SKIP_MS,
    Standing,
    Turn,
    after_response,
    after_silence,
    after_try,
    turn_of,
)
from sinks.reachability import Skipped

SECOND = datetime(2026, 11, 30, tzinfo=UTC)
# What happens to a vendor, with the milliseconds since what was before.
HAPPENS = st.lists(
    st.tuples(
        st.sampled_from(["silent", "silent", "silent", "response", "call", "call"]),
        st.sampled_from([0, 1, 900, SKIP_MS - 1, SKIP_MS, SKIP_MS + 1]),
    ),
    max_size=30,
)


def oracle(history: list[tuple[str, int]], at_ms: int) -> Turn:
    """What a call may do, by looking at all that has happened since the last response."""
    answered = [place for place, (what, _) in enumerate(history) if what == "response"]
    since = history[answered[-1] + 1 :] if answered else history
    silent = [moment for what, moment in since if what == "silent"]
    if len(silent) < 3:
        return "call"
    # Tries are noted only while the vendor is skipped, so all of them count here.
    begins = silent[2:] + [moment for what, moment in since if what == "try"]
    return "try" if at_ms >= max(begins) + 30_000 else "skip"


@given(HAPPENS)
def test_any_history_is_judged_as_the_oracle_does(happens: list[tuple[str, int]]) -> None:
    standing, history, now_ms = Standing(), list[tuple[str, int]](), 0
    for what, after_ms in happens:
        now_ms += after_ms
        turn = turn_of(standing, now_ms)
        assert turn == oracle(history, now_ms)
        if what == "silent":
            standing = after_silence(standing, now_ms)
            history.append(("silent", now_ms))
        elif what == "response":
            standing = after_response(standing)
            history.append(("response", now_ms))
        elif turn == "try":
            standing = after_try(standing, now_ms)
            history.append(("try", now_ms))
    assert turn_of(standing, now_ms) == oracle(history, now_ms)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=400))
def test_a_dead_vendor_gets_three_calls_and_then_one_in_thirty_seconds(gaps: list[int]) -> None:
    """However many calls come: each one that is made has been silent when the next one comes."""
    standing, now_ms, made = Standing(), 0, list[int]()
    for gap in gaps:
        now_ms += gap * 100
        turn = turn_of(standing, now_ms)
        if turn == "skip":
            continue
        if turn == "try":
            standing = after_try(standing, now_ms)
        made.append(now_ms)
        standing = after_silence(standing, now_ms)
    later = made[SILENT_INVITES - 1 :]
    assert all(after - before >= SKIP_MS for before, after in itertools.pairwise(later))


# ---- the router's shell


def row(peer_id: int, skip_ms: int | None, *, node: str = "ast1", probed: bool = False, version: int = 0) -> Skipped:
    until = None if skip_ms is None else SECOND + timedelta(seconds=version)
    return Skipped(node, peer_id, 3, skip_ms, until, probed)


def test_what_is_skipped_now() -> None:
    vendors = by_node([row(1, 5_000), row(2, -1), row(3, None, probed=True), row(4, -1, probed=True)], 100_000)["ast1"]
    assert unreachable_in(vendors, 104_999) == {
        1: "the last 3 INVITEs to it had no SIP response",
        3: "its OPTIONS probes are not answered",
        4: "its OPTIONS probes are not answered",
    }
    assert unreachable_in(vendors, 105_000).keys() == {3, 4}


class Database:
    """The rows, and who asks for tries."""

    def __init__(self, *rows: Skipped, gives: bool = True) -> None:
        self.rows, self.gives, self.asked, self.away = list(rows), gives, list[Try](), False

    async def read(self) -> list[Skipped]:
        if self.away:
            raise psycopg.OperationalError("away")
        return self.rows

    async def take(self, wanted: Try) -> bool:
        self.asked.append(wanted)
        if self.away:
            raise psycopg.OperationalError("away")
        return self.gives


def looked(database: Database) -> Reach:
    reach = Reach(database.read, database.take)
    asyncio.run(reach.look())
    return reach


def test_one_call_of_a_router_tries_a_vendor_whose_skip_is_over() -> None:
    database = Database(row(7, -5))
    reach = looked(database)
    assert reach.unreachable("ast1") == {}
    assert reach.due("ast1", [6, 8]) is None
    assert reach.due("ast2", [7]) is None
    wanted = reach.due("ast1", [6, 7])
    assert wanted == Try("ast1", 7, SECOND)
    assert asyncio.run(reach.take(wanted))
    # All further calls of this router skip it, also while PostgreSQL's answer is on its way, or shows the old row.
    assert reach.unreachable("ast1").keys() == {7}
    asyncio.run(reach.look())
    assert reach.unreachable("ast1").keys() == {7}
    database.rows = [row(7, 29_000, version=1)]
    asyncio.run(reach.look())
    assert reach.unreachable("ast1").keys() == {7}
    database.rows = [row(7, -1, version=1)]  # that try was in vain, or went to nobody: the next one
    asyncio.run(reach.look())
    assert reach.unreachable("ast1") == {}
    assert reach.due("ast1", [7]) is not None


@pytest.mark.parametrize("away", [False, True])
def test_a_try_that_another_router_has_is_none_of_ours(away: bool) -> None:
    database = Database(row(7, -5), gives=False)
    reach = looked(database)
    database.away = away
    wanted = reach.due("ast1", [7])
    assert wanted is not None
    assert not asyncio.run(reach.take(wanted))
    assert reach.unreachable("ast1").keys() == {7}


def test_a_vendor_that_has_answered_is_called_again() -> None:
    database = Database(row(7, -5))
    reach = looked(database)
    wanted = reach.due("ast1", [7])
    assert wanted is not None
    asyncio.run(reach.take(wanted))
    database.rows = []
    asyncio.run(reach.look())
    assert reach.unreachable("ast1") == {}
    assert reach.due("ast1", [7]) is None


def test_without_postgresql_every_vendor_is_called() -> None:
    database = Database(row(7, 20_000))
    reach = looked(database)
    assert reach.unreachable("ast1").keys() == {7}
    database.away = True
    asyncio.run(reach.look())
    assert reach.unreachable("ast1") == {}
