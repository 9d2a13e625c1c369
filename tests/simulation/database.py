"""Connections to the model of PostgreSQL: autocommit or transactions, away, or an answer lost with the commit done."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import psycopg

from tests.simulation.clock import Host, Process
from tests.simulation.statements import handler_of
from tests.simulation.tables import BrokenError, Tables


class Database:
    """The one server. `refusals` and `losses` say whose next commits are undone, or done without an answer."""

    def __init__(self, host: Host, wall_ms: Callable[[], int]) -> None:
        self.host = host
        self.wall_ms = wall_ms
        self.tables = Tables()
        self.is_away = False
        self.cut_off: set[str] = set()  # names of processes that cannot reach it
        self.refusals: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.committed: Callable[[], None] = lambda: None
        self.on_statement: Callable[[str, Any, list[Any]], None] = lambda _statement, _given, _rows: None

    def reachable(self) -> bool:
        """By the running process."""
        process = self.host.running
        return not (self.is_away or (process is not None and process.name in self.cut_off))

    def heal(self) -> None:
        """No more faults."""
        self.is_away = False
        self.refusals.clear()
        self.losses.clear()
        self.cut_off.clear()

    async def connect(self, *_: Any, autocommit: bool = False, **__: Any) -> "AsyncConnection":
        """As psycopg.AsyncConnection.connect."""
        await self.host.pause(server="postgres")
        self._require()
        return AsyncConnection(Connection(self, autocommit))

    def connect_now(self, autocommit: bool = True) -> "Connection":
        """As psycopg.connect."""
        self._require()
        return Connection(self, autocommit)

    def _require(self) -> None:
        self.host.effect()
        if not self.reachable():
            raise psycopg.OperationalError("connection refused")


class Cursor:
    """The rows of a statement."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self.rowcount = len(rows)

    def fetchone(self) -> Any:
        """The first row that was not fetched."""
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        """All rows that were not fetched."""
        rows, self._rows = self._rows, []
        return rows


class Connection:
    """As psycopg.Connection. Its transaction ends before anybody else runs."""

    def __init__(self, database: Database, autocommit: bool) -> None:
        self.database = database
        self._autocommit = autocommit
        self._saved: dict[str, Any] | None = None
        self._process: Process | None = None
        self.is_broken = False

    def execute(self, statement: str, given: Any = ()) -> Cursor:
        """One statement; without a transaction it is one of its own, or begins one."""
        self._require()
        alone = self._saved is None and self._autocommit
        if self._saved is None:
            self.begin()
        try:
            rows = handler_of(statement)(self.database.tables, given, self.database.wall_ms())
        except BrokenError as error:
            self.roll_back()
            raise psycopg.errors.CheckViolation(str(error)) from error
        self.database.on_statement(statement, given, rows)
        if alone:
            self.commit()
        return Cursor(rows)

    def begin(self) -> None:
        """From here on others wait."""
        self._saved = self.database.tables.saved()
        self._process = self.database.host.running
        if self._process is not None:
            self._process.is_atomic = True

    def commit(self) -> None:
        """Raises psycopg.OperationalError: then it is done, or it is not."""
        database = self.database
        try:
            self._require()
        except BaseException:
            self.roll_back()
            raise
        if database.host.meets(database.refusals, "requests refused"):
            self._break()
        self._end()
        database.committed()
        if database.host.meets(database.losses, "answers lost"):
            self._break()
        database.host.effect()

    def roll_back(self) -> None:
        """Nothing of it has been."""
        if self._saved is not None:
            self.database.tables.roll_back(self._saved)
        self._end()

    def close(self) -> None:
        """No more."""
        self.roll_back()
        self.is_broken = True

    def cursor(self, **_: Any) -> "Connection":
        """Rows come as the model has them."""
        return self

    def transaction(self) -> "Transaction":
        """As psycopg's, of the outermost kind."""
        return Transaction(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._saved is None:
            return
        if kind is None:
            self.commit()
        else:
            self.roll_back()

    def _end(self) -> None:
        self._saved = None
        if self._process is not None:
            self._process.is_atomic = False
        self._process = None

    def _require(self) -> None:
        try:
            self.database.host.effect()
        except BaseException:
            self.roll_back()
            raise
        if self.is_broken or not self.database.reachable():
            self._break()

    def _break(self) -> None:
        self.roll_back()
        self.is_broken = True
        raise psycopg.OperationalError("server closed the connection unexpectedly")


class Transaction:
    """`with connection.transaction()`, and `async with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.begin()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._connection.commit()
        else:
            self._connection.roll_back()

    async def __aenter__(self) -> None:
        await self._connection.database.host.pause(server="postgres")
        self.__enter__()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.__exit__(kind, error, trace)


class AsyncCursor:
    """As psycopg.AsyncCursor."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.rowcount = cursor.rowcount

    async def fetchone(self) -> Any:
        """See Cursor."""
        return self._cursor.fetchone()

    async def fetchall(self) -> list[Any]:
        """See Cursor."""
        return self._cursor.fetchall()


class AsyncConnection:
    """As psycopg.AsyncConnection: others run before and after each statement that is in no transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: str, given: Any = ()) -> AsyncCursor:
        """See Connection."""
        await self._connection.database.host.pause(server="postgres")
        return AsyncCursor(self._connection.execute(statement, given))

    def transaction(self) -> Transaction:
        """See Connection."""
        return Transaction(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._connection.__exit__(kind, error, trace)
