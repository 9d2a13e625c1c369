"""Talk by a wall clock that was set, against the true one: a simulated clock that ticks both ways."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from schemas.clock_steps import MAX_STRETCHES, UNKNOWN, Clock, Doubt, Stretch, read_clock, talk_of

LAST_MS = 600_000


def wall_of(steps: Sequence[tuple[int, int]], at_ms: int) -> int:
    """The wall clock at a true time; `steps`: when it was set, and by how much."""
    return 1_795_000_000_000 + at_ms + sum(by_ms for since_ms, by_ms in steps if since_ms <= at_ms)


def read_all(steps: Sequence[tuple[int, int]], readings: Sequence[int]) -> Clock:
    clock = UNKNOWN
    for at_ms in sorted(readings):
        clock = read_clock(clock, wall_of(steps, at_ms), at_ms)
    return clock


STEPS = st.lists(
    st.tuples(st.integers(1, LAST_MS - 1), st.integers(-4_000_000, 4_000_000).filter(lambda by_ms: abs(by_ms) >= 5)),
    max_size=4,
)


@given(STEPS, st.integers(0, LAST_MS - 1), st.data())
def test_the_talk_is_the_true_one_or_the_leg_is_flagged(
    steps: list[tuple[int, int]], answered_ms: int, data: st.DataObject
) -> None:
    ended_ms = data.draw(st.integers(answered_ms, LAST_MS))
    clock = read_all(steps, range(0, LAST_MS + 1_000, 1_000))
    length_ms = wall_of(steps, ended_ms) - wall_of(steps, answered_ms)
    talk = talk_of(clock, wall_of(steps, ended_ms), length_ms)
    assert talk.length_ms >= 0
    seen = {since_ms // 1_000 for since_ms, _ in steps}
    if len(seen) == len(steps):  # two steps within one second are one, of another size
        assert talk.length_ms == ended_ms - answered_ms or not talk.is_sure


@given(st.integers(1, LAST_MS - 1), st.integers(5, 4_000_000), st.integers(0, LAST_MS - 1), st.data())
def test_a_step_forwards_is_always_corrected(at_ms: int, by_ms: int, answered_ms: int, data: st.DataObject) -> None:
    ended_ms = data.draw(st.integers(answered_ms, LAST_MS))
    steps = [(at_ms, by_ms)]
    clock = read_all(steps, range(0, LAST_MS + 1_000, 1_000))
    length_ms = wall_of(steps, ended_ms) - wall_of(steps, answered_ms)
    talk = talk_of(clock, wall_of(steps, ended_ms), length_ms)
    near = min(abs(at_ms - answered_ms), abs(at_ms - ended_ms)) <= 1_000  # it may be on either side
    assert talk == (ended_ms - answered_ms, True) or (near and by_ms <= 2_000)


def test_a_step_backwards_in_mid_call_is_corrected_and_a_short_call_behind_it_is_flagged() -> None:
    steps = [(300_000, -3_600_000)]
    clock = read_all(steps, range(0, 401_000, 1_000))
    assert talk_of(clock, wall_of(steps, 350_000), 250_000 - 3_600_000) == (250_000, True)
    assert talk_of(clock, wall_of(steps, 350_000), 10_000) == (10_000, False)  # or it talks since an hour
    assert talk_of(clock, wall_of([], 200_000), 10_000) == (10_000, True)


def test_a_clock_that_nobody_reads_and_one_that_is_never_set() -> None:
    assert talk_of(UNKNOWN, 1_000_000, 2_000) == (2_000, True)
    assert talk_of(UNKNOWN, 1_000_000, -2_000) == (0, False)
    clock = read_all([], range(0, 100_000, 1_000))
    assert len(clock.stretches) == 1
    assert talk_of(clock, wall_of([], 99_500), 2_000) == (2_000, True)
    assert talk_of(clock, wall_of([], 99_500), -2_000) == (0, False)
    assert not talk_of(clock, wall_of([], 300_000), 2_000).is_sure  # of another clock than ours


def test_a_leg_that_was_up_while_the_two_clocks_moved_apart_is_flagged() -> None:
    clock = Clock((Stretch(1_000_000, 0, 100_000),), (Doubt(40_000, 45_000),))
    for ended_ms, is_sure in ((39_000, True), (40_000, False), (54_999, False), (55_001, True)):
        assert talk_of(clock, 1_000_000 + ended_ms, 10_000) == (10_000, is_sure)


def test_the_newest_stretches_are_kept() -> None:
    clock = UNKNOWN
    for number in range(3 * MAX_STRETCHES):
        clock = read_clock(clock, 1_000_000 + number * 2_000, number * 1_000)
    assert len(clock.stretches) == MAX_STRETCHES
    assert clock.stretches[-1].offset_ms == 1_000_000 + (3 * MAX_STRETCHES - 1) * 1_000
