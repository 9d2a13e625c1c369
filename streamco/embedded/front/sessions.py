"""Handles of the engine that outlive a request, under the client's `session_id`: temporary tables and SET stay in them.

Few, each used by one request at a time, forgotten when idle. Everything else runs on a handle of its own.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamco.embedded.front.wire import EngineError


@dataclass
class Session:
    """A handle, who uses it, and when it may be forgotten (monotonic seconds)."""

    handle: Any
    idle_seconds: float
    expires_at: float
    busy: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """All sessions of the process. Every method may be called from any thread."""

    def __init__(self, new_handle: Callable[[], Any], most: int, longest_seconds: float) -> None:
        self._new_handle = new_handle
        self._most = most
        self._longest_seconds = longest_seconds
        self._guard = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def take(self, name: str, idle_seconds: float, *, must_exist: bool) -> Session:
        """The session of this name, locked for the caller. Raises EngineError when it may not be had."""
        with self._guard:
            self._forget(time.monotonic())
            session = self._sessions.get(name)
            if session is None:
                if must_exist:
                    raise EngineError("Code: 372. DB::Exception: Session not found. (SESSION_NOT_FOUND)")
                if len(self._sessions) >= self._most:
                    raise EngineError(
                        f"Code: 202. DB::Exception: there are {self._most} sessions already. "
                        "(TOO_MANY_SIMULTANEOUS_QUERIES)"
                    )
                session = Session(self._new_handle(), 0.0, 0.0)
                self._sessions[name] = session
            if not session.busy.acquire(blocking=False):
                raise EngineError(
                    "Code: 373. DB::Exception: Session is locked by a concurrent client. (SESSION_IS_LOCKED)"
                )
            session.idle_seconds = min(idle_seconds, self._longest_seconds)
            return session

    def give_back(self, session: Session) -> None:
        """The caller has done with it: its idle time begins."""
        session.expires_at = time.monotonic() + session.idle_seconds
        session.busy.release()

    def close(self) -> None:
        """Close all that nobody uses now."""
        with self._guard:
            self._forget(float("inf"))

    def _forget(self, now: float) -> None:
        for name, session in list(self._sessions.items()):
            if session.expires_at <= now and session.busy.acquire(blocking=False):
                del self._sessions[name]
                session.handle.close()
