"""GUARD: what the check of a statement adds to a query of ClickHouse's owner, in the same run.

The dashboards' own statements on an engine with some legs: the check for the first time (the engine parses twice), the
check of a statement that is known, and the whole query.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import percentile
from runtime.definitions import read_definitions
from runtime.migrations import read_migrations, split_statements
from streamco.clickhouse_access.rights import READER
from streamco.embedded.front.engine import Engine
from streamco.embedded.front.guard import Guard
from streamco.embedded.front.jobs import Job
from streamco.embedded.front.rules import Scope

_DATABASE = "streamco"
_LEGS = """
    INSERT INTO legs (start_time, call_start_time, answer_time, end_time, call_id, leg_id, side, currency, answered)
    SELECT now64(3) - number % 3600, now64(3) - number % 3600, NULL, now64(3), toString(number), toString(number),
           'receivable', 'EUR', number % 2 FROM numbers({legs})
"""
_PARAMETERS = {
    "dimension": "vendor", "now_from": "2026-01-01", "now_until": "2027-01-01", "before_from": "2026-01-01",
    "before_until": "2027-01-01", "since": "2026-01-01", "until": "2027-01-01", "call_id": "x", "started_ms": "0",
    "sip_call_id": "x",
}  # fmt: skip


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures: milliseconds of each of the dashboards' statements."""
    parser = argparse.ArgumentParser(prog="bench GUARD")
    parser.add_argument("--legs", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=60)
    options = parser.parse_args(arguments)
    first: list[_Time] = []
    again: list[_Time] = []
    whole: list[_Time] = []
    with tempfile.TemporaryDirectory() as place:
        engine = Engine(
            Path(place), server_settings={}, defaults={}, most_sessions=1, session_seconds=1, database=_DATABASE
        )
        engine.ask(f"CREATE DATABASE {_DATABASE}")
        for one in (*read_migrations("clickhouse"), *read_definitions("clickhouse")):
            for statement in split_statements(one.sql):
                _run(engine, statement)
        _run(engine, _LEGS.format(legs=options.legs))
        for path in sorted((files("dashboards") / "sql").iterdir(), key=lambda one: one.name):
            sql = path.read_text(encoding="utf-8")
            for _ in range(options.turns):
                admit = partial(Guard(engine.ask_whole, _DATABASE, 8).admit, Scope(READER, _DATABASE), sql, _PARAMETERS)
                first.append(_timed(admit))
                again.append(_timed(admit))
                whole.append(_timed(partial(_read, engine, sql)))
        engine.close()
    return {
        "statements": len(first),
        "first_p50_ms": round(statistics.median(one.clock_ms for one in first), 3),
        "first_p99_ms": round(percentile([one.clock_ms for one in first], 0.99), 3),
        "first_processor_p50_ms": round(statistics.median(one.processor_ms for one in first), 3),
        "again_p50_ms": round(statistics.median(one.clock_ms for one in again), 4),
        "query_p50_ms": round(statistics.median(one.clock_ms for one in whole), 3),
        "query_processor_p50_ms": round(statistics.median(one.processor_ms for one in whole), 3),
        "first_to_query": round(
            statistics.median(one.processor_ms for one in first)
            / statistics.median(one.processor_ms for one in whole), 3
        ),
    }  # fmt: skip


class _Time(NamedTuple):
    """Of one act: by the clock, and of the processor, all threads."""

    clock_ms: float
    processor_ms: float


def _timed(act: Callable[[], object]) -> _Time:
    begun, processor = time.perf_counter(), time.process_time()
    act()
    return _Time((time.perf_counter() - begun) * 1000, (time.process_time() - processor) * 1000)


def _run(engine: Engine, sql: str) -> None:
    engine.run(Job(body=[sql.encode()], database=_DATABASE))


def _read(engine: Engine, sql: str) -> None:
    engine.run(Job(body=[sql.encode()], database=_DATABASE, parameters=_PARAMETERS, rights=READER))
