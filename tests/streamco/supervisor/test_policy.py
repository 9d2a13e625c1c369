"""Back-off and its limit."""

from streamco.supervisor.policy import (
    FORGIVEN_AFTER_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_ENDS,
    WITHIN_SECONDS,
    History,
    ended,
    wait_seconds,
)


def test_waits_double_to_their_limit() -> None:
    history, waits = History(), []
    for now in range(8):
        history = ended(history, float(now), healthy_seconds=0.0)
        waits.append(wait_seconds(history))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]


def test_a_minute_of_health_forgets_the_back_off() -> None:
    history = History()
    for now in range(5):
        history = ended(history, float(now), healthy_seconds=0.0)
    history = ended(history, 100.0, healthy_seconds=FORGIVEN_AFTER_SECONDS)
    assert wait_seconds(history) == 0.5


def test_too_many_ends_in_a_short_time_is_the_end() -> None:
    history = History()
    for now in range(MOST_ENDS):
        history = ended(history, float(now), healthy_seconds=0.0)
        assert wait_seconds(history) is not None
    assert wait_seconds(ended(history, float(MOST_ENDS), 0.0)) is None


def test_ends_long_ago_do_not_count() -> None:
    history = History()
    for number in range(10 * MOST_ENDS):
        history = ended(history, number * WITHIN_SECONDS / (MOST_ENDS - 1), healthy_seconds=0.0)
        assert wait_seconds(history) is not None
