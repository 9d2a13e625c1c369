"""AUDIT: one run of the continuous audit, with nothing, a million and ten million legs behind it.

The legs behind are in ledger and CDRs, counted and compared, as on a day like any other. Then minute after minute so
many new legs are rated, posted and written, and each minute's run is timed; at last the one that compares the hour
whole, when nothing more comes into it.
"""

import argparse
import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from kafka import KafkaProducer

from bench.figures import percentile, say
from bench.line_past import load_past
from bench.line_stack import LineStack
from bench.line_world import make_calls
from runtime.clickhouse import connect
from runtime.connections import Kafka
from schemas.events import CallEnded, LegEnded, RatedLeg
from schemas.journal import decode_line
from schemas.topics import RATED_LEGS
from sinks.audit.continuous.main import Auditor, Run
from sinks.audit.continuous.settings import AuditorSettings
from sinks.cdrs import write_legs
from sinks.dimensions import Dimensions, read_dimensions
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg
from streams.output import rated_messages

POSTED_AT_ONCE = 2_000
REST = timedelta(minutes=5)


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench AUDIT")
    parser.add_argument("--behind", default="0,1000000,10000000", help="legs behind, one measurement each")
    parser.add_argument("--legs", type=int, default=12_000, help="new legs of each run: a minute at 200 a second")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    sizes = [int(size) for size in options.behind.split(",")]
    return {"legs_a_run": options.legs, "behind": [_measure(size, options.legs, options.runs) for size in sizes]}


def _measure(behind: int, legs: int, runs: int) -> dict[str, Any]:
    with LineStack() as stack:
        if behind:
            load_past(stack, stack.parties, behind)
        settings = AuditorSettings(
            postgres=stack.postgres, kafka=stack.kafka, clickhouse=stack.clickhouse, cdr_seconds=0
        )
        now = datetime.now(UTC)
        auditor = Auditor(settings, lambda: now)
        first = auditor.run()
        begin_seconds = _seconds_of_last(stack)
        say(f"{behind:,} legs behind: counted in {begin_seconds:.1f} s, {len(first.differences)} differences")
        with psycopg.connect(stack.dsn) as connection:
            connection.execute("UPDATE audit_hours SET compared = true")
        callers = make_calls(stack.parties)
        seconds: list[float] = []
        ok = not first.differences
        for _ in range(runs):
            new = _legs(callers, legs)
            _put(stack, new)
            now += timedelta(minutes=1)
            made = auditor.run()
            seconds.append(_seconds_of_last(stack))
            ok = ok and _is_equal(made, len(new))
            say(f"{behind:,} behind: {len(new)} new legs audited in {seconds[-1]:.3f} s; {made.differences[:3]}")
        now += REST
        ok = auditor.run().differences == [] and ok
        hour_seconds = _seconds_of_last(stack)
        auditor.close()
    return {
        "behind": behind,
        "begin_seconds": round(begin_seconds, 2),
        "run_seconds": round(percentile(seconds, 0.5), 3),
        "max_run_seconds": round(max(seconds), 3),
        "hour_run_seconds": round(hour_seconds, 3),
        "audit_ok": ok,
    }


def _is_equal(made: Run, legs: int) -> bool:
    """Whether all that was new was found equal everywhere."""
    return not made.differences and (made.counts["compared"], made.counts["waiting"]) == (legs, 0)


def _seconds_of_last(stack: LineStack) -> float:
    """As the auditor itself has measured and kept it."""
    with psycopg.connect(stack.dsn) as connection:
        row = connection.execute("SELECT seconds FROM audit_runs ORDER BY run_id DESC LIMIT 1").fetchone()
    assert row is not None
    return float(row[0])


def _legs(callers: Any, count: int) -> list[RatedLeg]:
    """The rated legs of calls that end now, about so many."""
    legs: list[RatedLeg] = []
    while len(legs) < count:
        for line in next(callers).lines(time.time_ns() // 1_000_000).text.splitlines(keepends=True):
            event = decode_line(line)
            if isinstance(event, LegEnded | CallEnded):
                legs.append(rate_leg(event))
    return legs


def _put(stack: LineStack, legs: list[RatedLeg]) -> None:
    """Into every store, as the workers do."""
    _produce(stack.kafka, legs)
    names = asyncio.run(_post(stack.dsn, legs))
    with connect(stack.clickhouse) as client:
        write_legs(client, legs, names)


def _produce(kafka: Kafka, legs: list[RatedLeg]) -> None:
    producer = KafkaProducer(**kafka.client(), acks="all", linger_ms=5)
    for partition, message in rated_messages(legs, kafka.partitions):
        producer.send(RATED_LEGS.name, value=message, partition=partition)
    producer.flush(60)
    producer.close()


async def _post(dsn: str, legs: list[RatedLeg]) -> Dimensions:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        ledger = Ledger(connection)
        for first in range(0, len(legs), POSTED_AT_ONCE):
            await ledger.post(legs[first : first + POSTED_AT_ONCE])
        return await read_dimensions(connection)
