"""Runs statements on the engine inside this process: one handle a request (or session), bounds on every query.

A fresh handle costs less than a millisecond and forgets everything when it is closed: settings, database and temporary
tables of a request cannot reach another. Called from worker threads; the engine does its work outside Python's lock.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import chdb

from streamco.embedded.front.guard import Guard
from streamco.embedded.front.jobs import Answer, Job, apply_settings, bounded, execute, make_table, restoring, set_all
from streamco.embedded.front.sessions import Sessions
from streamco.embedded.front.sql import StatementError, identifier, literal
from streamco.embedded.front.wire import EngineError

_MOST_VERDICTS: Final = 1_024
# Half of what else such a statement takes; and it may hold another one as a text.
_ASKING: Final = {"max_threads": "1", "log_queries": "0", "max_query_size": "1048576"}
_connect: Final[Callable[[str], Any]] = chdb.connect  # it has no types


class Engine:
    """The one engine of a directory. `defaults` are settings that hold for every query unless it has its own."""

    def __init__(
        self,
        directory: Path,
        *,
        server_settings: dict[str, str],
        defaults: dict[str, str],
        most_sessions: int,
        session_seconds: float,
        database: str,
    ) -> None:
        options = "&".join(f"{name}={value}" for name, value in server_settings.items())
        self._path = str(directory)
        self._defaults = defaults
        # This handle keeps the engine alive between requests; the server's settings are taken from the first one.
        self._keep = _connect(f"{self._path}?{options}" if options else self._path)
        self.sessions = Sessions(self._new_handle, most_sessions, session_seconds)
        self._idle: list[Any] = []  # as many as were used at once
        self.guard = Guard(self.ask_whole, database, _MOST_VERDICTS)
        self.version = self.ask("SELECT version()")
        self.time_zone = self.ask("SELECT timezone()")

    def _new_handle(self) -> Any:
        handle = _connect(self._path)
        try:
            set_all(handle, self._defaults)
        except BaseException:
            handle.close()
            raise
        return handle

    def ask(self, sql: str) -> str:
        """The first value that a statement of ours gives, as text."""
        return self.ask_whole(sql).split("\n", 1)[0]

    def ask_whole(self, sql: str, parameters: Mapping[str, str] | None = None) -> str:
        """What a statement of ours that changes nothing gives, as raw text. Raises EngineError.

        Handles that have answered are used again: to make one takes longer than such a statement.
        """
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = self._new_handle()
            set_all(handle, _ASKING)
        try:
            answer = str((handle.query(sql, "TSVRaw", params=dict(parameters or {})).bytes() or b"").decode())
        except Exception as error:
            handle.close()
            raise EngineError.of(error) from error
        self._idle.append(handle)
        return answer

    def kill(self, marker: str) -> None:
        """End the query of the job with this marker, if it runs and only reads: a change is never cut in two."""
        self.ask(f"KILL QUERY WHERE query_kind = 'Select' AND Settings['log_comment'] = {literal(marker)} ASYNC")

    def kill_all(self) -> None:
        """End every query."""
        self.ask("KILL QUERY WHERE query NOT LIKE 'KILL QUERY%' ASYNC")

    def close(self) -> None:
        """Close the engine. Nothing may run any more."""
        self.sessions.close()
        for handle in self._idle:
            handle.close()
        self._keep.close()

    def run(self, job: Job) -> Answer:
        """Run a job. Raises EngineError. An answer in Pieces has to be closed by the caller."""
        try:
            return self._run_on(*self._handle(bounded(job, self.guard.database)))
        except (EngineError, StatementError) as error:
            raise EngineError.of(error) from error
        except Exception as error:  # the engine's own errors have several types, and one text
            raise EngineError.of(error) from error

    def _handle(self, job: Job) -> tuple[Any, Job, Callable[[], None]]:
        if job.session is None:
            handle = self._new_handle()
            return handle, job, handle.close
        session = self.sessions.take(job.session, job.session_seconds, must_exist=job.session_must_exist)
        return session.handle, job, lambda: self.sessions.give_back(session)

    def _run_on(self, handle: Any, job: Job, done: Callable[[], None]) -> Answer:
        undo: list[str] = []

        def finish() -> None:
            try:
                if job.session is not None:  # any other handle is closed, and forgets by itself
                    for statement in undo:
                        handle.query(statement, "TSV")
            finally:
                done()

        try:
            if job.session is not None:
                undo.append(restoring(handle, [*job.settings, "log_comment"]))
            apply_settings(handle, job)
            for table in job.tables:
                undo.append(f"DROP TEMPORARY TABLE IF EXISTS {identifier(table.name)}")
                make_table(handle, table, self.guard)
            answer = execute(handle, job, self.guard, finish)
        except BaseException:
            finish()
            raise
        if isinstance(answer.body, bytes):
            finish()
        return answer
