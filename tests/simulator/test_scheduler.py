"""The clock and the heap: steps run at their own moments, in order, and the clock never passes the present."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scheduler import Clock, Scheduler


class Real:
    def __init__(self, now_ms: float) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        return self.now_ms


def make(start_ms: int, speedup: float, now_ms: float) -> tuple[Scheduler, Real]:
    real = Real(now_ms)
    return Scheduler(Clock(start_ms, speedup, real)), real


@given(st.floats(1, 5_000), st.integers(1, 10_000_000), st.lists(st.floats(0, 100_000), max_size=30))
def test_back_filling_never_passes_the_present(speedup: float, span_ms: int, waits: list[float]) -> None:
    start_ms = int(1_800_000_000_000 - span_ms * (1 - 1 / speedup))
    real = Real(1_800_000_000_000.0)
    clock = Clock(start_ms, speedup, real)
    last = clock.target_ms()
    for wait in waits:
        real.now_ms += wait
        assert last <= clock.target_ms() <= real.now_ms
        last = clock.target_ms()


def test_back_filling_reaches_the_end_of_its_span_at_the_present() -> None:
    real = Real(1_800_000_000_000.0)
    clock = Clock(1_800_000_000_000 - 3_540_000, 60.0, real)  # an hour at 60: a minute of real time
    real.now_ms += 60_000
    assert clock.target_ms() == pytest.approx(real.now_ms, abs=1)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=40))
def test_steps_run_in_the_order_of_their_moments_each_at_its_own(moments: list[int]) -> None:
    scheduler, real = make(1_000_000, 1.0, 1_000_000.0)
    seen: list[int] = []
    for moment in moments:
        scheduler.at(1_000_000 + moment, lambda: seen.append(scheduler.now_ms() - 1_000_000))
    real.now_ms += 2_000
    while scheduler.run_due(7):
        pass
    assert seen == sorted(moments)


def test_the_clock_lags_with_the_work_and_never_goes_back() -> None:
    scheduler, real = make(0, 1.0, 0.0)
    scheduler.at(100, lambda: None)
    real.now_ms = 5_000
    assert scheduler.now_ms() == 100  # the step of 100 has not run yet
    assert scheduler.lag_ms() == 4_900
    scheduler.run_due(10)
    assert scheduler.now_ms() == 5_000
    ran: list[int] = []
    scheduler.at(200, lambda: ran.append(scheduler.now_ms()))  # its moment is over: at once, at the present
    scheduler.run_due(10)
    assert ran == [5_000]


def test_a_cancelled_step_does_not_run_and_does_not_hold_the_clock() -> None:
    scheduler, real = make(0, 1.0, 0.0)
    timer = scheduler.at(100, lambda: pytest.fail("ran"))
    timer.cancelled = True
    real.now_ms = 1_000
    assert scheduler.now_ms() == 1_000
    assert scheduler.run_due(10) == 0
    assert scheduler.seconds_until_next() is None


def test_seconds_until_next_are_real_ones() -> None:
    scheduler, _ = make(0, 10.0, 100_000.0)
    scheduler.at(5_000, lambda: None)
    assert scheduler.seconds_until_next() == pytest.approx(0.5)
