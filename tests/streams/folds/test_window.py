"""The window against an oracle that keeps every leg and adds up from nothing, after each of any additions and expiries.

The times are chosen close together, so that legs come late, early, again and on the borders of buckets, and clocks go
back. Sums are small and of both signs, so that totals are often zero while buckets are not. Bounds are small.
"""

import random
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.folds.window import AHEAD_MS, BUCKET_MS, Sums, Window

ZERO: Sums = (0, 0)
UNBOUNDED = 10_000
KEYS = ("a", "b", "c", "d")
SPAN_MS = 150_000
START_MS = 1_795_700_000_000  # the beginning of a bucket
END_MS = START_MS + SPAN_MS + 2 * AHEAD_MS  # later than anything that is counted

Part = tuple[str, Sums]


class Leg(NamedTuple):
    """What is added: at `at_ms`, when the clock shows `now_ms`."""

    leg_id: str
    at_ms: int
    parts: tuple[Part, ...]
    now_ms: int


class Expiry(NamedTuple):
    """Time passes, or goes back."""

    now_ms: int


Step = Leg | Expiry


class Oracle:
    """All counted legs in a list. Every answer is made from the list alone."""

    def __init__(self, window_ms: int, most_legs: int, most_keys: int) -> None:
        self.window_ms, self.most_legs, self.most_keys = window_ms, most_legs, most_keys
        self.counted: list[Leg] = []
        self.first = 0
        self.lost = 0

    def add(self, leg: Leg) -> bool:
        self.expire(leg.now_ms)
        bucket = leg.at_ms // BUCKET_MS
        if bucket < self.first or leg.at_ms > leg.now_ms + AHEAD_MS or self.has(leg.leg_id, leg.at_ms):
            return False
        parts: list[Part] = []
        for key, values in leg.parts:
            keys = self.keys() | {known for known, _ in parts}
            if key in keys or len(keys) < self.most_keys:
                parts.append((key, values))
            else:
                self.lost += 1
        self.counted.append(leg._replace(parts=tuple(parts)))
        while len(self.counted) > self.most_legs:
            before = len(self.counted)
            self.forget(min(one.at_ms // BUCKET_MS for one in self.counted) + 1)
            self.lost += before - len(self.counted)
        return True

    def expire(self, now_ms: int) -> None:
        self.forget(now_ms // BUCKET_MS - -(-self.window_ms // BUCKET_MS) + 1)

    def forget(self, first: int) -> None:
        self.first = max(self.first, first)
        self.counted = [one for one in self.counted if one.at_ms // BUCKET_MS >= self.first]

    def has(self, leg_id: str, at_ms: int) -> bool:
        bucket = at_ms // BUCKET_MS
        return any(one.leg_id == leg_id and one.at_ms // BUCKET_MS == bucket for one in self.counted)

    def keys(self) -> set[str]:
        return {key for one in self.counted for key, _ in one.parts}

    def between(self, key: str, from_ms: int, until_ms: int) -> Sums:
        values = [
            values
            for one in self.counted
            for known, values in one.parts
            if known == key and from_ms <= one.at_ms // BUCKET_MS * BUCKET_MS < until_ms
        ]
        return tuple(sum(column) for column in zip(ZERO, *values, strict=True))

    def totals(self) -> dict[str, Sums]:
        return {key: self.between(key, 0, END_MS) for key in self.keys()}


def make(window_ms: int, most_legs: int = UNBOUNDED, most_keys: int = UNBOUNDED) -> tuple[Window[str], Oracle]:
    window: Window[str] = Window(window_ms, len(ZERO), most_legs=most_legs, most_keys=most_keys)
    return window, Oracle(window_ms, most_legs, most_keys)


def do(window: Window[str], oracle: Oracle, step: Step) -> None:
    """One step on both. What they answer has to be equal."""
    if isinstance(step, Leg):
        assert window.add(step.leg_id, step.at_ms, step.parts, step.now_ms) == oracle.add(step)
        assert window.has(step.leg_id, step.at_ms) == oracle.has(step.leg_id, step.at_ms)
    else:
        window.expire(step.now_ms)
        oracle.expire(step.now_ms)


def compare(window: Window[str], oracle: Oracle) -> None:
    totals = oracle.totals()
    assert window.totals() == totals
    assert {key: window.total(key) for key in KEYS} == {key: totals.get(key, ZERO) for key in KEYS}
    assert (len(window), window.legs, window.lost) == (len(totals), len(oracle.counted), oracle.lost)
    assert window.since_ms() == oracle.first * BUCKET_MS
    assert window.legs <= oracle.most_legs
    assert len(window) <= oracle.most_keys


def is_empty(window: Window[str]) -> bool:
    """Whether nothing is left in memory, in whatever the window has to keep things in."""
    return not any(held for held in vars(window).values() if isinstance(held, dict | set | list))


ANY_MS = st.integers(0, SPAN_MS).map(lambda ms: START_MS + ms)
BORDER_MS = st.integers(0, SPAN_MS // BUCKET_MS).map(lambda bucket: START_MS + bucket * BUCKET_MS)
CLOCK_MS = ANY_MS | BORDER_MS | BORDER_MS.map(lambda ms: ms - 1)
# Too early to be believed, or just not; older than any window; before the epoch.
EVENT_MS = CLOCK_MS | CLOCK_MS.map(lambda ms: ms + AHEAD_MS) | st.sampled_from([START_MS - SPAN_MS, 0, -1])
VALUES = st.tuples(st.integers(-2, 2), st.integers(-2, 2))
PARTS = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=4).map(tuple)
LEG_IDS = st.integers(0, 9).map(str)
LEGS = st.builds(Leg, LEG_IDS, EVENT_MS, PARTS, CLOCK_MS)
STEPS = st.lists(LEGS | st.builds(Expiry, CLOCK_MS), max_size=40)
WINDOW_MS = st.sampled_from([1, BUCKET_MS, 25_000, 60_000])

ANSWERED = Leg("1", START_MS, (("a", (1_500, 1_296)),), START_MS)
UNANSWERED = Leg("2", START_MS + 20_000, (("a", ZERO),), START_MS + 20_000)
PASSING = [Expiry(START_MS + ms) for ms in range(30_000, SPAN_MS, BUCKET_MS)]


@given(WINDOW_MS, st.integers(0, 6) | st.just(UNBOUNDED), st.integers(0, 3) | st.just(UNBOUNDED), STEPS)
@example(60_000, UNBOUNDED, UNBOUNDED, [ANSWERED, UNANSWERED, *PASSING])
@settings(max_examples=300)
def test_after_every_step_the_window_is_what_the_oracle_adds_up(
    window_ms: int, most_legs: int, most_keys: int, steps: list[Step]
) -> None:
    window, oracle = make(window_ms, most_legs, most_keys)
    for step in steps:
        do(window, oracle, step)
        compare(window, oracle)
    # Everything goes when its time is over, and leaves nothing in memory.
    do(window, oracle, Expiry(END_MS + window_ms))
    compare(window, oracle)
    assert (window.legs, len(window)) == (0, 0)
    assert is_empty(window)


@given(WINDOW_MS, STEPS, st.sampled_from(KEYS), EVENT_MS, st.integers(-BUCKET_MS, SPAN_MS))
def test_the_sums_of_a_span_are_those_of_its_buckets(
    window_ms: int, steps: list[Step], key: str, from_ms: int, length_ms: int
) -> None:
    window, oracle = make(window_ms)
    for step in steps:
        do(window, oracle, step)
    assert window.between(key, from_ms, from_ms + length_ms) == oracle.between(key, from_ms, from_ms + length_ms)
    assert window.between(key, START_MS - SPAN_MS, END_MS) == window.total(key)


@given(WINDOW_MS, STEPS, st.randoms(use_true_random=False))
def test_a_window_made_anew_from_the_log_is_the_same(window_ms: int, steps: list[Step], chosen: random.Random) -> None:
    """After a restart: only what is still of the window is read, in another order, some of it twice."""
    window, oracle = make(window_ms)
    now_ms = START_MS
    for step in steps:
        do(window, oracle, step)
        now_ms = max(now_ms, step.now_ms)
    window.expire(now_ms)
    oracle.expire(now_ms)
    again = [*oracle.counted, *chosen.sample(oracle.counted, len(oracle.counted) // 2)]
    chosen.shuffle(again)
    anew, _ = make(window_ms)
    for leg in again:
        anew.add(leg.leg_id, leg.at_ms, leg.parts, now_ms)
    assert anew.totals() == window.totals()
    assert (anew.legs, len(anew)) == (window.legs, len(window))


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        ((5, 1), (0, 0), (0, 0)),  # nothing in what is left
        ((0, 0), (0, 0), (0, 0)),  # nothing in anything
        ((5, 1), (3, 2), (-3, -2)),  # what is left adds up to nothing
        ((-5, -1), (5, 1), (1, 1)),  # the whole did before
    ],
)
def test_a_key_stays_as_long_as_a_bucket_has_sums_of_it(first: Sums, second: Sums, third: Sums) -> None:
    window, oracle = make(3 * BUCKET_MS)
    for number, values in enumerate((first, second, third)):
        at_ms = START_MS + number * BUCKET_MS
        do(window, oracle, Leg(str(number), at_ms, (("a", values),), at_ms))
    for number in (3, 4):
        do(window, oracle, Expiry(START_MS + number * BUCKET_MS))
        compare(window, oracle)
        assert "a" in window.totals()
    do(window, oracle, Expiry(START_MS + 5 * BUCKET_MS))
    assert window.totals() == {}
    assert is_empty(window)


def test_a_key_without_money_keeps_its_place_at_the_bound_of_keys() -> None:
    window, oracle = make(3 * BUCKET_MS, most_keys=1)
    steps = [
        Leg("1", START_MS, (("a", (5, 1)),), START_MS),
        Leg("2", START_MS + BUCKET_MS, (("a", ZERO),), START_MS + BUCKET_MS),
        Leg("3", START_MS + BUCKET_MS, (("b", (1, 1)),), START_MS + 3 * BUCKET_MS),
        Leg("4", START_MS + 3 * BUCKET_MS, (("a", (2, 2)),), START_MS + 3 * BUCKET_MS),
    ]
    for step in steps:
        do(window, oracle, step)
        compare(window, oracle)
    assert (window.totals(), window.lost) == ({"a": (2, 2)}, 1)
