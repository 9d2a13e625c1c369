"""One statement: what it runs with, how it is run on a handle of the engine, and what comes out."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

from streamco.clickhouse_access.rights import WRITER, Rights
from streamco.embedded.front.guard import Guard
from streamco.embedded.front.rules import FORMATS, UPLOADED, Scope, check_settings, check_target, refused
from streamco.embedded.front.sql import identifier, is_name, literal, read_insert, read_statement, read_target
from streamco.embedded.front.wire import EngineError

# Formats whose pieces simply follow each other. Others have a head and a foot, and are made whole.
STREAMED: Final = {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"}
_APPEND_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 64 << 10
_LONGEST_STATEMENT: Final = 262_144  # the engine's own max_query_size
_ARRIVED: Final = "rows_of_this_insert"


@dataclass(frozen=True)
class Table:
    """External data of a request: a temporary table for this query only."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True)
class Job:
    """One statement and what it runs with. `body`: the statement, and the data of an insert behind it, in pieces.

    `read_only`: nothing may be changed, whatever the `rights` of its login are.
    """

    body: Iterable[bytes]
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    database: str | None = None
    default_format: str = "TabSeparated"
    tables: tuple[Table, ...] = ()
    session: str | None = None
    session_seconds: float = 60.0
    session_must_exist: bool = False
    may_stream: bool = False
    read_only: bool = False
    rights: Rights = WRITER
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)


class Pieces:
    """A result that is still being made. `next` gives its next piece, None at its end; `close` must be called."""

    def __init__(self, first: bytes | None, rest: Any, done: Callable[[], None]) -> None:
        self._first: bytes | None = first
        self._rest = rest
        self._done = done
        self._lock = threading.Lock()
        self._closed = False
        self._why: EngineError | None = None

    def next(self) -> bytes | None:
        """Raises EngineError when the query fails now, or was ended before."""
        with self._lock:
            if self._why is not None:
                raise self._why
            if self._closed:
                return None
            if self._first is not None:
                first, self._first = self._first, None
                return first
            try:
                chunk = self._rest.fetch()
            except Exception as error:
                raise EngineError.of(error) from error
            return None if chunk is None else bytes(chunk.bytes())

    def end(self, why: EngineError) -> None:
        """Close it before its end: whoever asks for the next piece is told why."""
        with self._lock:
            if not self._closed:
                self._why = why
        self.close()

    def close(self) -> None:
        """End the query if it goes on, and give back its handle. May be called again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    self._rest.close()
                finally:
                    self._done()


@dataclass(frozen=True)
class Answer:
    """`body` is whole, or Pieces that the caller has to close. `format` is None where there is no result."""

    body: bytes | Pieces
    format: str | None
    summary: dict[str, int]


def bounded(job: Job, database: str) -> Job:
    """The job within its login's rights: its settings checked, the login's own added, its database ours (`database`).

    A login that only reads has no sessions: nothing that it may do would live in one. Raises EngineError.
    """
    rights = job.rights
    check_settings(rights, {name: value for name, value in job.settings.items() if name != "readonly"})
    if not rights.read_only:
        return job
    if job.settings.get("readonly", "1") not in ("1", "2"):
        raise EngineError("Code: 164. DB::Exception: readonly may not be changed here. (READONLY)")
    if job.database not in (None, database):
        raise refused(f"the database {(job.database or '')[:64]}")
    if job.session_must_exist:
        raise EngineError("Code: 372. DB::Exception: Session not found. (SESSION_NOT_FOUND)")
    own = {name: value for name, value in job.settings.items() if name != "readonly"}
    maxima = {name: str(most) for name, most in rights.maxima.items()}
    return replace(job, settings=dict(rights.fixed) | maxima | own, database=database, session=None)


def apply_settings(handle: Any, job: Job) -> None:
    """Set the job's database and settings on its handle.

    `log_comment` carries the job's marker, by which its query can be found and killed. A session is never set to
    read-only, since that cannot be taken back: there `execute` alone looks at the statement's kind.
    """
    if job.database is not None:
        handle.query(f"USE {identifier(job.database)}", "TSV")
    only_read = {"readonly": "2"} if job.read_only and job.session is None and not job.rights.read_only else {}
    set_all(handle, job.settings | {"log_comment": job.marker} | only_read)


def set_all(handle: Any, settings: dict[str, str]) -> None:
    """Give settings these values for as long as the handle lives. All or none: it is one statement."""
    for name in settings:
        if not is_name(name):
            raise EngineError(f"Code: 115. DB::Exception: {name[:80]!r} is no setting's name. (UNKNOWN_SETTING)")
    if settings:
        handle.query("SET " + ", ".join(f"{name} = {_value(value)}" for name, value in settings.items()), "TSV")


def restoring(handle: Any, names: Iterable[str]) -> str:
    """The statement that gives settings the values back that they have now in a session."""
    wanted = [name for name in names if is_name(name)]
    listed = ", ".join(literal(name) for name in wanted)
    changed = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({listed})"  # noqa: S608 - names
    rows = handle.query(changed, "JSONEachRow")
    own = {row["name"]: row["value"] for row in map(json.loads, bytes(rows.bytes() or b"").splitlines())}
    return "SET " + ", ".join(f"{name} = {_value(own[name]) if name in own else 'DEFAULT'}" for name in wanted)


def _value(text: str) -> str:
    """Maps, as of additional_table_filters, are written as they are; anything else is a string, which SET converts."""
    return text if text[:1] == "{" and text[-1:] == "}" else literal(text)


def make_table(handle: Any, table: Table, guard: Guard) -> None:
    """The external data of a request as a temporary table."""
    if not is_name(table.name):
        raise EngineError(f"Code: 36. DB::Exception: {table.name[:80]!r} is no table's name. (BAD_ARGUMENTS)")
    if not UPLOADED.fullmatch(table.format):
        raise EngineError(f"Code: 73. DB::Exception: format {table.format[:64]!r} of uploaded data. (UNKNOWN_FORMAT)")
    structure = guard.admit_structure(table.structure)
    handle.query(f"CREATE OR REPLACE TEMPORARY TABLE {identifier(table.name)} ({structure})", "TSV")
    if table.data:
        _insert(handle, f"INSERT INTO {identifier(table.name)}", table.format, [table.data])


def execute(handle: Any, job: Job, guard: Guard, finish: Callable[[], None]) -> Answer:
    """Run the statement, if its login may. `finish` is called by Pieces when the answer is one; else by the caller.

    Of an insert with data nothing is run but a move into the table that it names (`_insert_checked`); any other
    statement is run in the engine's own words that the guard has checked.
    """
    begun_ns = time.perf_counter_ns()
    pieces = iter(job.body)
    start = _start(pieces)
    insert = read_insert(start)
    if insert is not None:
        _require_change(job)
        data = chain([start[insert.data_at :]], pieces)
        rows, size = _insert_checked(
            handle, insert.head.decode(), insert.format or "", data, in_session=job.session is not None
        )
        return Answer(b"", None, _summary(begun_ns, written_rows=rows, written_bytes=size))
    sql = _whole(start, pieces)
    statement = read_statement(sql)
    if statement.kind not in ("select", "show"):
        _require_change(job)
    scope = Scope(job.rights, guard.database, frozenset(one.name for one in job.tables))
    verdict = guard.admit(scope, sql.decode(), job.parameters)
    text = verdict.text
    statement = read_statement(text.encode())
    form = statement.format or job.default_format
    if job.rights.read_only:
        if not FORMATS.fullmatch(form):
            raise EngineError(f"Code: 73. DB::Exception: format {form[:64]!r} is not for this login. (UNKNOWN_FORMAT)")
        set_all(handle, {"readonly": verdict.readonly})
    if statement.kind == "select" and job.may_stream and form in STREAMED:
        rest = handle.send_query(text, form, params=job.parameters)
        first = rest.fetch()
        return Answer(Pieces(None if first is None else bytes(first.bytes()), rest, finish), form, {})
    result = handle.query(text, form, params=job.parameters)
    body = bytes(result.bytes() or b"")
    summary = _summary(
        begun_ns,
        read_rows=result.storage_rows_read() or result.rows_read(),
        read_bytes=result.storage_bytes_read() or result.bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=len(body),
    )
    return Answer(body, None if statement.kind == "change" else form, summary)


def _require_change(job: Job) -> None:
    if job.read_only or job.rights.read_only:
        raise EngineError("Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)")


def _whole(start: bytes, pieces: Iterator[bytes]) -> bytes:
    """A statement without data, all of it. One that the engine would not read is not read here either."""
    sql = start
    for piece in pieces:
        if len(sql) + len(piece) > _LONGEST_STATEMENT:
            break
        sql += piece
    else:
        if len(sql) <= _LONGEST_STATEMENT:
            return sql
    raise EngineError(f"Code: 62. DB::Exception: a statement of more than {_LONGEST_STATEMENT} bytes. (SYNTAX_ERROR)")


def _start(pieces: Iterator[bytes]) -> bytes:
    """Enough of the body to know what it is: an insert's head may lie over several pieces."""
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= _HEAD_BYTES:
            break
    return start


def _insert_checked(handle: Any, head: str, form: str, data: Iterable[bytes], *, in_session: bool) -> tuple[int, int]:
    """Insert the data; (rows, bytes) written.

    The engine's streamed insert says nothing when the table itself refuses the rows (too many parts or partitions, a
    constraint): they are gone, and it reports success. So rows arrive in memory first, and one statement moves them:
    that one does say what is wrong.
    """
    target = read_target(head)
    if target is None:
        raise EngineError(
            "Code: 48. DB::Exception: an insert with data names a table and its columns here, nothing else; "
            "settings go beside it. (NOT_IMPLEMENTED)"
        )
    name, columns = target
    check_target(name)
    listed = f"({columns})" if columns else ""
    if in_session and handle.query(f"EXISTS TEMPORARY TABLE {name}", "TSV").bytes() == b"1\n":
        written = _insert(handle, f"INSERT INTO {name} {listed}", form, data)
        return written.rows_written, 0
    handle.query(f"CREATE OR REPLACE TEMPORARY TABLE {_ARRIVED} AS {name} ENGINE = Memory", "TSV")
    try:
        written = _insert(handle, f"INSERT INTO {_ARRIVED} {listed}", form, data)
        arrived = int(handle.query(f"SELECT count() FROM {_ARRIVED}", "TSV").bytes())  # noqa: S608 - a name of ours
        if arrived != written.rows_written:
            raise EngineError(
                f"Code: 469. DB::Exception: {written.rows_written} rows came, {arrived} keep the constraints of "
                f"{name}: none was written. (VIOLATED_CONSTRAINT)"
            )
        # The client's own words, and of an insert's head nothing but names.
        move = f"INSERT INTO {name} {listed} SELECT {columns or '*'} FROM {_ARRIVED}"  # noqa: S608
        moved = handle.query(move, "TSV")
    finally:
        handle.query(f"DROP TEMPORARY TABLE IF EXISTS {_ARRIVED}", "TSV")
    return moved.rows_written(), moved.bytes_written()


def _insert(handle: Any, head: str, form: str, data: Iterable[bytes]) -> Any:
    with handle.send_insert(head, form) as insert:
        for piece in data:
            view = memoryview(piece)
            for at in range(0, len(view), _APPEND_BYTES):
                insert.append(view[at : at + _APPEND_BYTES])
        return insert.finish()


def _summary(begun_ns: int, **counts: int) -> dict[str, int]:
    return counts | {"elapsed_ns": time.perf_counter_ns() - begun_ns}
