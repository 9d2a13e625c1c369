"""What PostgreSQL says, read once for all viewers and kept for some seconds; and what is shown while it is down."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import psycopg
import structlog

from runtime.postgres_pool import Connections

_log = structlog.get_logger(__name__)
_State = TypeVar("_State")


class CachedRead(Generic[_State]):
    """Safe to use from every thread: one of them reads, the others wait for it."""

    def __init__(
        self,
        connections: Connections,
        read: Callable[[psycopg.Connection[Any]], _State],
        *,
        first: _State,
        when_down: Callable[[_State], _State],
        keep_seconds: float,
        failed: str,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is read yet.

        `when_down`: the state to show while PostgreSQL does not answer, from the last one (at first: `first`).
        `failed`: the log's line for that.
        """
        self._connections = connections
        self._read = read
        self._state = first
        self._when_down = when_down
        self._keep_seconds = keep_seconds
        self._failed = failed
        self._seconds = seconds
        self._guard = threading.Lock()
        self._read_at = float("-inf")

    def current(self) -> _State:
        """The state as of `keep_seconds` ago at most. A read that failed is repeated after the same time."""
        with self._guard:
            if self._seconds() - self._read_at > self._keep_seconds:
                try:
                    with self._connections.lent(read_only=True) as connection:
                        self._state = self._read(connection)
                except psycopg.Error as error:
                    _log.warning(self._failed, error=str(error)[:200])
                    self._state = self._when_down(self._state)
                self._read_at = self._seconds()
            return self._state

    def expire(self) -> None:
        """The next question is read anew: something has been changed."""
        with self._guard:
            self._read_at = float("-inf")
