"""One statement, asked as quickly as PostgreSQL answers it: some connections, each with one question at a time.

A question goes by libpq, prepared, and its answer comes by the event loop's own watch of the socket. Through a cursor
of psycopg and a turn of a pool for each call the same took the router's process twice as long, and that is all there is
of it beside the decision (docs/performance.md).

Each line makes its own connection, and another one whenever that ends, for whatever reason, for ever. To set one up has
a time of its own, longer than that of a question: on a machine so busy that it takes longer than a question may, a line
that gave up by then would begin anew again and again. And the pause between two attempts does not grow: a pool's
doubles up to minutes, and its connects wait 130 s for a server that takes them and says nothing, so that a line could
stay away long after PostgreSQL was back.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors, pq
from psycopg_pool import PoolTimeout

log = structlog.get_logger(__name__)
Row = tuple[str | None, ...]
Asked = tuple[list[bytes], "asyncio.Future[Row]"]
Connect = Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]
SET_UP_SECONDS: Final = 10.0
_NAME: Final = b"asked"
_ENDS: Final = (b"FATAL", b"PANIC")
_AGAIN_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.5


class _Line:
    """A connection. `lost` is set when it can ask no more."""

    def __init__(self, lines: "Lines", connection: pq.abc.PGconn) -> None:
        self._lines = lines
        self._pgconn = connection
        self._loop = asyncio.get_running_loop()
        self._result: pq.abc.PGresult | None = None
        self.answer: asyncio.Future[Row] | None = None
        self.since = 0.0
        self.ready = False  # it has the statement
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._socket = connection.socket
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Watch the socket no more."""
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = -1

    def prepare(self, statement: bytes) -> "asyncio.Future[Row]":
        """Make the statement known. The answer is an empty row."""
        answer: asyncio.Future[Row] = self._loop.create_future()
        self._pgconn.send_prepare(_NAME, statement)
        self._begin(answer)
        self._flush()
        return answer

    def ask(self, asked: Asked) -> None:
        """Send a question; its future gets the row, or a psycopg.Error."""
        values, answer = asked
        self._begin(answer)
        try:
            self._pgconn.send_query_prepared(_NAME, values)
            self._flush()
        except psycopg.Error as error:
            self._lose(error)

    def _begin(self, answer: "asyncio.Future[Row]") -> None:
        self.answer, self._result, self.since = answer, None, self._loop.time()

    def _flush(self) -> None:
        if self._pgconn.flush():
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            if not self._pgconn.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._lose(error)

    def _readable(self) -> None:
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    break
                self._result = result
            else:
                return
        except psycopg.Error as error:
            self._lose(error)
            return
        if self.answer is None or self._result is None:
            if pgconn.status != pq.ConnStatus.OK:
                self._lose(psycopg.OperationalError("the connection is closed"))
            return
        answer, result, self.answer = self.answer, self._result, None
        if not answer.done():
            _give(answer, result)
        if result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) in _ENDS or pgconn.status != pq.ConnStatus.OK:
            self._lose(psycopg.OperationalError("PostgreSQL ends the connection"))
        elif self.ready:
            self._lines.free(self)

    def _lose(self, error: psycopg.Error) -> None:
        self.close()  # at once: libpq has closed the socket, and the next that is opened may have its number
        answer, self.answer = self.answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        if not self.lost.done():
            self.lost.set_result(None)


class Lines:
    """`ask` from anywhere in the event loop; `run` keeps the connections."""

    def __init__(
        self,
        connect: Connect,
        statement: str,
        count: int,
        most_waiting: int,
        set_up_seconds: float = SET_UP_SECONDS,
    ) -> None:
        """`connect` makes a connection in autocommit; `count` are kept. `statement` has $1…. Beyond `most_waiting`
        nobody waits. An attempt that has not connected and prepared it within `set_up_seconds` is given up.
        """
        self._connect = connect
        self._set_up_seconds = set_up_seconds
        self._statement = statement.encode()
        self._count = count
        self._most_waiting = most_waiting
        self._free: deque[_Line] = deque()
        self._waiting: deque[Asked] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._first = asyncio.Event()  # a line is, or was, ready

    @property
    def waiting(self) -> int:
        """How many questions wait for a connection."""
        return len(self._waiting)

    def start(self, most_seconds: float) -> None:
        """Connect, and stay connected. A connection that has not answered for `most_seconds` is given up."""
        self._tasks = [asyncio.create_task(self._keep_one(most_seconds)) for _ in range(self._count)]

    async def ready(self, seconds: float) -> None:
        """Wait until a line is ready; no longer than so, for PostgreSQL may be away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._first.wait()

    async def stop(self) -> None:
        """Give the connections back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, values: Sequence[str], seconds: float) -> Row:
        """The one row. Raises psycopg.Error, TimeoutError after `seconds`, PoolTimeout where too many wait."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        asked = [value.encode() for value in values], answer
        while self._free:
            line = self._free.popleft()
            if not line.lost.done():
                line.ask(asked)
                break
        else:
            if len(self._waiting) >= self._most_waiting:
                raise PoolTimeout(f"{len(self._waiting)} calls wait for PostgreSQL")
            self._waiting.append(asked)
        async with asyncio.timeout(seconds):
            return await answer

    def free(self, line: _Line) -> None:
        """A line has its answer: the next question is its."""
        while self._waiting:
            asked = self._waiting.popleft()
            if not asked[1].done():  # else it has waited for too long
                line.ask(asked)
                return
        self._free.append(line)

    async def _keep_one(self, most_seconds: float) -> None:
        while True:
            try:
                await self._one_life(most_seconds)
            except (psycopg.Error, TimeoutError, OSError) as error:
                log.info("a line to PostgreSQL ends", error=repr(error)[:200])
            except Exception:  # whatever it is: this task is all that brings the line back
                log.exception("a line to PostgreSQL ends")
            await asyncio.sleep(_AGAIN_SECONDS)
            self._drop_late()

    async def _one_life(self, most_seconds: float) -> None:
        async with asyncio.timeout(self._set_up_seconds) as set_up:
            connection = await self._connect()
            try:
                await self._use(connection, most_seconds, set_up)
            finally:
                await connection.close()

    async def _use(
        self, connection: psycopg.AsyncConnection[Any], most_seconds: float, set_up: asyncio.Timeout
    ) -> None:
        line = _Line(self, connection.pgconn)
        try:
            await line.prepare(self._statement)
            set_up.reschedule(None)
            line.ready = True
            self.free(line)
            self._first.set()
            while not line.lost.done():
                await asyncio.wait([line.lost], timeout=_LOOK_SECONDS)
                if line.answer is not None and asyncio.get_running_loop().time() - line.since > most_seconds:
                    raise TimeoutError(f"no answer for {most_seconds} s")
        finally:
            line.close()
            with contextlib.suppress(ValueError):
                self._free.remove(line)
            if line.answer is not None and not line.answer.done():
                line.answer.set_exception(psycopg.OperationalError("the connection is given up"))
            if not line.lost.done():
                line.lost.set_result(None)

    def _drop_late(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()


def _give(answer: "asyncio.Future[Row]", result: pq.abc.PGresult) -> None:
    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        found = [result.get_value(0, column) for column in range(result.nfields)] if result.ntuples else []
        try:
            answer.set_result(tuple([None if value is None else value.decode() for value in found]))
        except UnicodeDecodeError as error:
            answer.set_exception(psycopg.DataError(f"the answer is not UTF-8: {error}"))
        return
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000").decode()
    said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    try:
        kind: type[psycopg.Error] = errors.lookup(state)
    except KeyError:
        kind = psycopg.DatabaseError
    answer.set_exception(kind(said))
