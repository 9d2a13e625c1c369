"""Pauses after wrong logins: a guesser is slowed whatever it changes, no owner is locked out, memory is bounded."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.access.login_limiter import (
    ADDRESS_PAUSE_SECONDS,
    FORGET_SECONDS,
    LOGIN_PAUSE_SECONDS,
    LoginLimiter,
    Try,
)

FREE = 5


def guesses(limiter: LoginLimiter, tries: list[Try], seconds: float) -> int:
    """How many of the tries, made over and over for so long as often as possible, were let through."""
    now, through, at = 0.0, 0, 0
    while now < seconds:
        wait = limiter.begin(tries[at % len(tries)], now)
        through += not wait
        at += 1
        now += 0.05  # no password is checked faster
    return through


def test_the_pause_grows_to_its_bound() -> None:
    limiter, one = LoginLimiter(FREE), Try("nora", "192.0.2.1", known=True)
    now, waits = 0.0, []
    for _ in range(14):
        wait = limiter.begin(one, now)
        waits.append(wait)
        now += wait
        assert not wait or limiter.begin(one, now) == 0
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    "tries",
    [
        [Try("nora", "192.0.2.1", known=False)],
        [Try("nora", f"192.0.2.{n}", known=False) for n in range(100)],  # from many addresses
        [Try(f"user{n}", "192.0.2.1", known=False) for n in range(100)],  # at many logins
        [Try("", "192.0.2.1", known=False)],
        [Try("nora", "192.0.2.1", known=True)],  # from the owner's own address
    ],
)
def test_a_guesser_is_slowed_whatever_it_changes(tries: list[Try]) -> None:
    assert guesses(LoginLimiter(FREE), tries, 600) <= FREE + 7 + 600 / LOGIN_PAUSE_SECONDS


def test_the_owner_gets_in_from_its_own_address_while_others_guess() -> None:
    limiter = LoginLimiter(FREE)
    guessers = [Try("nora", f"192.0.2.{n}", known=False) for n in range(50)]
    guesses(limiter, guessers, 300)
    owner = Try("nora", "198.51.100.1", known=True)
    assert limiter.begin(guessers[0], 300.0) > 0
    assert limiter.begin(owner, 300.0) == 0
    limiter.right(owner)
    assert limiter.begin(guessers[0], 300.0) > 0, "the owner's login lets no guesser go on"
    colleague = Try("ben", "192.0.2.1", known=True)  # behind the guesser's very address
    assert limiter.begin(colleague, 300.0) == 0


def test_who_mistypes_and_then_gets_in_begins_anew() -> None:
    limiter, one = LoginLimiter(FREE), Try("nora", "192.0.2.1", known=True)
    for _ in range(3):
        for _ in range(FREE - 1):
            assert limiter.begin(one, 0.0) == 0
        assert limiter.begin(one, 0.0) == 0
        limiter.right(one)


def test_what_could_not_be_checked_counts_for_nothing() -> None:
    limiter, one = LoginLimiter(FREE), Try("nora", "192.0.2.1", known=False)
    for _ in range(50):
        assert limiter.begin(one, 0.0) == 0
        limiter.undone(one)


def test_a_hundred_at_the_same_moment_are_a_hundred() -> None:
    limiter, one = LoginLimiter(FREE), Try("nora", "192.0.2.1", known=False)
    through: list[int] = []
    many = [threading.Thread(target=lambda: through.append(limiter.begin(one, 0.0))) for _ in range(100)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert sum(not wait for wait in through) == FREE


def test_wrong_tries_are_forgotten_after_an_hour_without_one() -> None:
    limiter, one = LoginLimiter(FREE), Try("nora", "192.0.2.1", known=False)
    now, wait = 0.0, 0
    while wait < ADDRESS_PAUSE_SECONDS:
        now += wait
        limiter.begin(one, now)
        wait = limiter.begin(one, now)
    assert limiter.begin(one, now + FORGET_SECONDS + 1) == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=200))
def test_no_more_is_kept_than_the_bound_and_no_wait_is_longer_than_its_own(made: list[tuple[int, int, bool]]) -> None:
    limiter = LoginLimiter(2, most_kept=40)
    for at, (login, address, known) in enumerate(made):
        wait = limiter.begin(Try(f"user{login}", f"192.0.2.{address}", known), float(at))
        assert 0 <= wait <= (LOGIN_PAUSE_SECONDS if known else ADDRESS_PAUSE_SECONDS)
        assert len(limiter._counts) <= 40


def test_a_crowd_of_guessers_fills_no_more_than_the_bound() -> None:
    limiter = LoginLimiter(2, most_kept=40)
    for n in range(500):
        assert limiter.begin(Try(f"user{n}", f"192.0.2.{n}", known=False), float(n)) == 0
    assert len(limiter._counts) == 40


def test_who_has_to_wait_pushes_nobody_out() -> None:
    """Only what costs a password's check takes a place: else a guesser could flush its own count."""
    limiter = LoginLimiter(1, most_kept=10)
    target = Try("nora", "192.0.2.1", known=False)
    assert limiter.begin(target, 0.0) == 0
    for n in range(1_000):
        assert limiter.begin(Try(f"user{n}", "192.0.2.1", known=False), 0.5) > 0
    assert limiter.begin(target, 0.5) > 0
