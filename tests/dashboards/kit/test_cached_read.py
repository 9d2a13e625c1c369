"""One read for all viewers, kept for its time; what is shown while PostgreSQL does not answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dashboards.kit.cached_read import CachedRead


class Connections:
    """Lends a connection that nobody uses."""

    def __init__(self) -> None:
        self.lends = 0
        self.down = False

    @contextmanager
    def lent(self, *, read_only: bool) -> Iterator[Any]:
        assert read_only
        self.lends += 1
        if self.down:
            raise psycopg.OperationalError("no")
        yield None


class Made:
    """A cached read of numbers that count up, with a clock of its own."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.now = 100.0
        self.read = CachedRead[str](
            self.connections,  # type: ignore[arg-type]
            lambda _: f"read {self.connections.lends}",
            first="nothing yet",
            when_down=lambda last: f"down after {last}",
            keep_seconds=5,
            failed="cannot be read",
            seconds=lambda: self.now,
        )


def test_it_is_read_again_when_its_time_is_over_or_something_was_changed() -> None:
    made = Made()
    assert (made.read.current(), made.read.current()) == ("read 1", "read 1")
    made.now += 5
    assert made.read.current() == "read 1"
    made.now += 0.1
    assert made.read.current() == "read 2"
    made.read.expire()
    assert made.read.current() == "read 3"


def test_while_postgresql_is_down_it_is_asked_no_more_often() -> None:
    made = Made()
    made.connections.down = True
    assert (made.read.current(), made.read.current()) == ("down after nothing yet",) * 2
    assert made.connections.lends == 1
    made.connections.down = False
    made.now += 6
    assert made.read.current() == "read 2"


def test_errors_of_our_own_are_not_taken_for_a_database_that_is_down() -> None:
    made = Made()

    def wrong(_: Any) -> str:
        raise ValueError("a bug")

    made.read._read = wrong
    with pytest.raises(ValueError, match="a bug"):
        made.read.current()


def test_many_viewers_are_one_read() -> None:
    made = Made()

    def slow(_: Any) -> str:
        time.sleep(0.05)
        return "slow"

    made.read._read = slow
    found: list[str] = []
    viewers = [threading.Thread(target=lambda: found.append(made.read.current())) for _ in range(20)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join(5)
    assert found == ["slow"] * 20
    assert made.connections.lends == 1
