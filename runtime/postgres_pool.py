"""PostgreSQL's connections of this process: a bounded number, lent for one transaction each, kept for the next one.

What PostgreSQL has closed meanwhile (it was started again, somebody ended the session) is seen before it is lent, at no
cost: a connection that nothing was asked of has nothing to say, so one that can be read from is let go. While
PostgreSQL is away, who asks is told at once, as by a connection of its own.
"""

import select
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from runtime.connections import Postgres
from runtime.metrics import Bounded

SECONDS: Final = 3
"""A connection is made, lent, and each statement answered, within so many, or psycopg.Error is raised."""
MOST: Final = 12
_MAX_AGE_SECONDS: Final = 900.0  # then a change of its role, or of what stands between, is noticed
LENT: Final = Bounded(
    "dashboards_postgres_connections", "Connections to PostgreSQL that are in use; at the bound who asks waits, or not."
)
_Connection = psycopg.Connection[Any]


class Connections:
    """Safe to use from every thread. Not across a fork: nothing is opened before the first is lent."""

    def __init__(self, postgres: Postgres, most: int = MOST) -> None:
        self._dsn = postgres.dsn.get_secret_value()
        self._places = threading.BoundedSemaphore(most)
        self._guard = threading.Lock()
        self._idle: list[tuple[_Connection, float]] = []  # with the time it was made; the last used at the end
        self._lent = 0
        weakref.finalize(self, _close, self._idle)
        LENT.watch(most, lambda: self._lent)

    @contextmanager
    def lent(self, *, autocommit: bool = False, read_only: bool = False) -> Iterator[_Connection]:
        """A connection in a transaction, committed at the end of the block, rolled back on any exception.

        `autocommit`: each statement is its own. Raises psycopg.Error.
        """
        if not self._places.acquire(timeout=SECONDS):
            LENT.lose()
            raise psycopg.OperationalError(f"all connections of this process have been in use for {SECONDS} s")
        try:
            connection, made_at = self._take() or (self._connect(), time.monotonic())
            self._lent += 1
            try:
                connection.autocommit, connection.read_only = autocommit, read_only
                yield connection
                connection.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    connection.rollback()
                raise
            finally:
                self._lent -= 1
                self._give_back(connection, made_at)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close those that nobody uses now."""
        with self._guard:
            _close(self._idle)

    def _connect(self) -> _Connection:
        # A statement that hangs ends by the server's timeout; where the server's machine is gone, by the kernel's.
        return psycopg.connect(
            self._dsn,
            connect_timeout=SECONDS,
            options=f"-c statement_timeout={SECONDS * 1000}",
            tcp_user_timeout=2 * SECONDS * 1000,
        )

    def _take(self) -> tuple[_Connection, float] | None:
        while True:
            with self._guard:
                if not self._idle:
                    return None
                connection, made_at = self._idle.pop()
            if time.monotonic() - made_at < _MAX_AGE_SECONDS and _is_quiet(connection):
                return connection, made_at
            connection.close()

    def _give_back(self, connection: _Connection, made_at: float) -> None:
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            return
        with self._guard:
            self._idle.append((connection, made_at))


def _close(idle: list[tuple[_Connection, float]]) -> None:
    while idle:
        idle.pop()[0].close()


def _is_quiet(connection: _Connection) -> bool:
    """Has the server said nothing since the last answer? What it says unasked is that it ends the connection."""
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        return not connection.closed and not waiting.poll(0)
    except (OSError, ValueError, psycopg.Error):
        return False
