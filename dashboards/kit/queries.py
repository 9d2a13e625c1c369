"""Asks ClickHouse: SQL from files, bound parameters only, bounded in time, shared by all viewers for a moment."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar

import structlog

from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from runtime.metrics import Bounded
from schemas.ids import CALL_ID_PATTERN

_log = structlog.get_logger(__name__)
ANSWER_SECONDS: Final = 10
KEEP_SECONDS: Final = 2.0
HOUR: Final = timedelta(hours=1)
DIMENSIONS: Final = ("vendor", "customer", "destination")
_MOST_KEPT: Final = 256
KEPT: Final = Bounded(
    "dashboards_answers_kept", "ClickHouse's answers kept for all viewers; all are let go at the bound."
)
_Result = TypeVar("_Result")


class SourceAwayError(Exception):
    """A store that is read does not answer. The text is for the person who looks."""


@cache
def _sql(name: str) -> str:
    return (files("dashboards") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


class Queries:
    """Safe to use from every thread."""

    def __init__(self, settings: ClickHouse, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Connects at the first question, and again after an error."""
        self._settings = settings
        self._clock = clock
        self._client: Any = None
        self._guard = threading.Lock()
        self._kept: dict[Any, tuple[float, Any]] = {}
        self._asking: dict[Any, threading.Lock] = {}
        KEPT.watch(_MOST_KEPT, lambda: len(self._kept))

    def by_dimension(self, dimension: str, window: timedelta) -> Sequence[Mapping[str, Any]]:
        """Rows of sql/by_dimension.sql for one of DIMENSIONS. Raises SourceAwayError."""
        if dimension not in DIMENSIONS:
            raise ValueError(f"dimension {dimension!r}: must be one of {DIMENSIONS}")
        return self._shared(("dimension", dimension, window), lambda: self._by_dimension(dimension, window))

    def _by_dimension(self, dimension: str, window: timedelta) -> Sequence[Mapping[str, Any]]:
        return self._ask("by_dimension", {"dimension": dimension, **self._windows(window)})

    def attempts(self, window: timedelta) -> tuple[int, int]:
        """Attempts of the last moments, and of the same an hour before. Raises SourceAwayError."""
        rows = self._shared(("attempts", window), lambda: self._ask("attempts_between", self._windows(window)))
        return int(rows[0]["attempts_now"]), int(rows[0]["attempts_before"])

    def minutes(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Rows of one of the *_by_minute queries over the last hour. Raises SourceAwayError."""
        return self._shared(("minutes", name), lambda: self._ask(name, self._last_hour()))

    def call_legs(self, call_id: str) -> Sequence[Mapping[str, Any]]:
        """A call's legs; none for what is no call's id. Raises SourceAwayError."""
        return self._of_call("call_legs", call_id)

    def call_decision(self, call_id: str) -> str | None:
        """A call's decision as JSON, if there is one. Raises SourceAwayError."""
        rows = self._of_call("call_decision", call_id)
        return str(rows[0]["decision"]) if rows else None

    def calls_by_sip_call_id(self, sip_call_id: str) -> Sequence[str]:
        """Ids of the calls of which a leg has this SIP Call-ID, newest first, 20 at most. Raises SourceAwayError."""
        return [str(row["call_id"]) for row in self._ask("calls_by_sip_call_id", {"sip_call_id": sip_call_id})]

    def _of_call(self, name: str, call_id: str) -> Sequence[Mapping[str, Any]]:
        if CALL_ID_PATTERN.fullmatch(call_id) is None:
            return ()
        started_ms = int(call_id.rsplit("-", 1)[1].split(".")[0]) * 1000
        return self._ask(name, {"call_id": call_id, "started_ms": started_ms})

    def _windows(self, window: timedelta) -> dict[str, Any]:
        now = self._clock()
        return {
            "now_from": now - window,
            "now_until": now,
            "before_from": now - HOUR - window,
            "before_until": now - HOUR,
        }

    def _last_hour(self) -> dict[str, Any]:
        now = self._clock()
        return {"since": now.replace(second=0, microsecond=0) - HOUR, "until": now}

    def _shared(self, key: Any, ask: Callable[[], _Result]) -> _Result:
        """The same answer for all who ask within KEEP_SECONDS; one of them asks, the others wait for him."""
        with self._guard:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            kept = self._kept.get(key)
            if kept is not None and time.monotonic() - kept[0] < KEEP_SECONDS:
                return kept[1]  # type: ignore[no-any-return]
            answer = ask()
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
                self._asking.clear()
            self._kept[key] = (time.monotonic(), answer)
            return answer

    def _ask(self, name: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        try:
            client = self._connected()
            result = client.query(_sql(name), parameters=_bound(parameters))
        except Exception as error:  # the client lets errors of several libraries through; each means: no answer
            _log.warning("ClickHouse does not answer", query=name, error=str(error)[:300])
            with self._guard:
                self._client = None
            raise SourceAwayError(f"ClickHouse does not answer ({type(error).__name__})") from error
        return list(result.named_results())

    def _connected(self) -> Any:
        with self._guard:
            if self._client is None:
                limits = {"max_execution_time": ANSWER_SECONDS}
                self._client = connect(self._settings, answer_seconds=ANSWER_SECONDS, query_settings=limits)
            return self._client


def _bound(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Moments with their milliseconds: the client would send whole seconds."""
    return {
        name: value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if isinstance(value, datetime) else value
        for name, value in parameters.items()
    }
