"""When calls are refused for overload, by made-up clocks; and the answer that they get."""

from pathlib import Path

import pytest
from agi_client import unquote_mset
from hypothesis import given
from hypothesis import strategies as st
from snapshots import RawWorld, make_snapshot, peer

from router.server.overload import CALM_SECONDS, FEW_OPEN, FEW_WAITING, LASTING_SECONDS, Line, LoopLag
from router.server.shed import Shedder
from router.snapshot.store import Snapshot
from schemas.agi import CALL_FACTS, DECISION, REASON, REFUSE_CAUSE, ROUTES
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID, decode_facts

MOST = 0.02


def test_a_moment_of_lateness_refuses_nobody() -> None:
    lag = LoopLag(MOST)
    lag.tick(10.0, 5 * MOST)
    assert not lag.refuses
    lag.tick(10.01, 0.0)
    lag.tick(10.2, 4 * MOST)
    assert not lag.refuses


def test_lasting_lateness_refuses_until_the_first_tick_in_time() -> None:
    lag = LoopLag(MOST)
    now = 10.0
    while now < 10 + LASTING_SECONDS + 0.05:
        lag.tick(now, 0.03)
        now += 0.04
    assert lag.refuses
    lag.tick(now, 0.001)
    assert not lag.refuses
    lag.tick(now + 0.05, 0.03)  # it has not been calm for long: one tick is enough
    assert lag.refuses
    lag.tick(now + 0.1, 0.0)
    lag.tick(now + 0.2 + CALM_SECONDS, 0.0)
    lag.tick(now + 0.3 + CALM_SECONDS, 0.03)
    assert not lag.refuses


@given(st.lists(st.floats(0, 0.2), max_size=60))
def test_whoever_is_never_late_for_long_refuses_nobody(lates: list[float]) -> None:
    lag, now = LoopLag(MOST), 1.0
    for late in lates:
        now += 0.01 + late
        lag.tick(now, late)
        if late <= MOST:
            assert not lag.refuses
        now += 0.01
        lag.tick(now, 0.0)
        assert not lag.refuses


def filled(line: Line, count: int, at: float) -> None:
    for number in range(count):
        line.enter(number, at)


def test_a_long_line_refuses_only_while_answers_come() -> None:
    line = Line(0.2)
    filled(line, FEW_WAITING + 5, 10.0)
    line.leave(0, 10.1, answered=True)
    assert not line.refuses(10.15)  # the first has not waited long
    assert line.refuses(10.25)
    assert not line.refuses(10.35)  # no answer for 0.2 s: the database is away, and that has a policy of its own
    line.leave(1, 10.4, answered=False)
    assert not line.refuses(10.4)


def test_a_short_line_refuses_nobody_however_long_it_waits() -> None:
    line = Line(0.2)
    filled(line, FEW_WAITING, 10.0)
    line.leave("another", 10.9, answered=True)
    assert not line.refuses(11.0)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    customer = peer(7, originator=True, host="127.0.0.10/32")
    return make_snapshot(tmp_path, RawWorld([customer, peer(8, originator=False)], {7: [], 8: []}, []))


def overloaded(snapshot: Snapshot, sessions: int = FEW_OPEN + 1) -> Shedder:
    lag = LoopLag(MOST)
    lag.refuses = True
    return Shedder(lag, lambda: sessions, Line(0.2), lambda: snapshot)


@pytest.mark.parametrize(("address", "account"), [("127.0.0.10%3A5060", 1007), ("x", UNIDENTIFIED_ACCOUNT_ID)])
def test_a_call_refused_for_overload_hears_503_and_is_its_callers(
    snapshot: Snapshot, address: str, account: int
) -> None:
    shedder = overloaded(snapshot)
    for _ in range(2):
        sent = shedder.refuse("route", {"agi_arg_3": address, "agi_arg_4": "447700900123"})
        assert sent is not None
        found = unquote_mset(sent.decode().rstrip("\n"))
        assert list(found)[-1] == ROUTES
        assert (found[DECISION], found[REASON], found[REFUSE_CAUSE], found[ROUTES]) == ("REFUSE", "OVERLOAD", "42", "0")
        assert decode_facts(found[CALL_FACTS]).account_id == account
    assert shedder.shed == 2


def test_the_ping_is_answered_in_overload_and_few_sessions_are_none(snapshot: Snapshot) -> None:
    assert overloaded(snapshot).refuse("ping", {}) is None
    assert overloaded(snapshot, FEW_OPEN).refuse("route", {}) is None
    assert overloaded(snapshot).refuse("route", {}) is not None  # what is missing is nobody's call
