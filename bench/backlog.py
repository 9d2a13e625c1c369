"""BACKLOG: the stream workers were away for ten minutes at 200 calls a second; they come back while traffic goes on.

What waits in Kafka was written by the real agent from a journal of those ten minutes; then the workers start, and a
writer goes on at the same rate. Measured: how fast ledger and CDRs catch up, and how late the live view and the CDRs of
the calls that end meanwhile are, while the backlog drains and after it.
"""

import argparse
import threading
import time
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from agent.state_file import load_state
from bench.figures import percentile, say
from bench.line_stack import LineStack
from bench.line_world import Lines, make_calls
from runtime.clickhouse import connect
from schemas.topics import ACTIVE_CALLS
from sinks.audit.full.audit import audit

POLL_SECONDS: Final = 0.1
AFTER_SECONDS: Final = 15.0  # of traffic after the backlog: how late things are then
_NEW: Final = "SELECT call_id FROM legs WHERE leg = 0 AND end_time > fromUnixTimestamp64Milli({since:Int64})"


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench BACKLOG")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the outage")
    parser.add_argument("--cps", type=int, default=200)
    options = parser.parse_args(arguments)
    with LineStack() as stack:
        callers = make_calls(stack.parties)
        waiting = _fill(stack, callers, options.seconds, options.cps)
        traffic = _Traffic(stack, callers, options.cps)
        began = time.monotonic()
        traffic.start()
        try:
            stack.start_streams("billing", "cdrs", "live")
            ready = time.monotonic() - began
            drained = _await(stack, waiting, began)
            traffic.note_drained()
            time.sleep(AFTER_SECONDS)
        finally:
            traffic.stop()
        report = audit(stack.audit_settings, settle_seconds=120)
        for difference in report.differences[:5]:
            say(f"difference: {difference}")
    return {
        "outage_seconds": options.seconds,
        "cps": options.cps,
        "legs_waiting": waiting,
        "workers_ready_seconds": round(ready, 1),
        "ledger_caught_up_seconds": round(drained["ledger"], 1),
        "cdrs_caught_up_seconds": round(drained["cdr"], 1),
        "legs_per_second": round(waiting / (max(drained.values()) - ready)),
        **traffic.figures(began + ready),
        "audit_ok": report.ok,
    }


def _fill(stack: LineStack, callers: Any, seconds: float, cps: int) -> int:
    """The outage: its journal, relayed to Kafka. Returns the legs that wait there."""
    calls = int(seconds * cps)
    say(f"{calls} calls of {seconds:.0f} s are written and relayed, nobody reads them")
    now_ms = time.time_ns() // 1_000_000
    legs = 0
    with stack.journal.open("wb") as journal:
        for number in range(calls):
            call: Lines = next(callers).lines(now_ms - (calls - number) * 1000 // cps)
            journal.write(call.text)
            legs += call.legs
    stack.start_agent()
    size = stack.journal.stat().st_size
    while sum(mark.offset for mark in load_state(stack.node_directory).files) < size:
        stack.check()
        time.sleep(0.2)
    return legs


def _await(stack: LineStack, legs: int, began: float) -> dict[str, float]:
    """Seconds until both stores have as many legs as waited (legs come in order, by partition: near enough)."""
    done: dict[str, float] = {}
    while len(done) < 2:
        time.sleep(0.5)
        stack.check()
        for name, count in (("ledger", stack.legs_posted), ("cdr", stack.legs_written)):
            if name not in done and count() >= legs:
                done[name] = time.monotonic() - began
                say(f"{name}: caught up after {done[name]:.0f} s")
    return done


class _Traffic:
    """A writer of calls that end now, and two watchers: of the live topic and of the CDRs."""

    def __init__(self, stack: LineStack, callers: Any, cps: int) -> None:
        self._stack, self._callers, self._cps = stack, callers, cps
        self._since_ms = time.time_ns() // 1_000_000
        self._written: dict[str, float] = {}
        self._live: dict[str, float] = {}
        self._cdrs: dict[str, float] = {}
        self._drained = 0.0
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._write, self._watch_live, self._watch_cdrs)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def note_drained(self) -> None:
        self._drained = time.monotonic()

    def stop(self) -> None:
        """The writer ends; the watchers see what is still under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def figures(self, ready: float) -> dict[str, Any]:
        """Percentiles of how late calls were seen, of those that ended after `ready` (monotonic seconds)."""
        found: dict[str, Any] = {"calls_meanwhile": len(self._written)}
        for name, seen in (("live", self._live), ("cdr", self._cdrs)):
            for when, first, last in (("draining", ready, self._drained), ("after", self._drained, float("inf"))):
                times = [seen[call] - at for call, at in self._written.items() if first <= at < last and call in seen]
                unseen = sum(1 for call, at in self._written.items() if first <= at < last and call not in seen)
                found[f"{name}_{when}"] = {
                    "p50_seconds": round(percentile(times, 0.5), 2) if times else None,
                    "p99_seconds": round(percentile(times, 0.99), 2) if times else None,
                    "unseen": unseen,
                }
        return found

    def _write(self) -> None:
        began, number = time.time(), 0
        with self._stack.journal.open("ab", buffering=0) as journal:
            while not self._stopped.is_set():
                number += 1
                if (wait := began + number / self._cps - time.time()) > 0:
                    time.sleep(wait)
                call = next(self._callers).lines(time.time_ns() // 1_000_000)
                journal.write(call.text)
                self._written[call.call_id] = time.monotonic()

    def _watch_live(self) -> None:
        consumer = KafkaConsumer(**self._stack.kafka.client(), group_id=None)
        try:
            numbers = range(self._stack.kafka.partitions)
            partitions = [TopicPartition(ACTIVE_CALLS.name, number) for number in numbers]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            while not self._over(self._live):
                polled = consumer.poll(timeout_ms=int(POLL_SECONDS * 1000))
                now = time.monotonic()
                for records in polled.values():
                    for record in records:
                        if record.value:
                            self._live.setdefault(record.key.decode(), now)
        finally:
            consumer.close()

    def _watch_cdrs(self) -> None:
        with connect(self._stack.clickhouse) as client:
            while not self._over(self._cdrs):
                time.sleep(POLL_SECONDS * 5)
                found = client.query(_NEW, parameters={"since": self._since_ms}).result_rows
                now = time.monotonic()
                for (call_id,) in found:
                    self._cdrs.setdefault(call_id, now)

    def _over(self, seen: dict[str, float]) -> bool:
        return self._stopped.is_set() and (
            self._written.keys() <= seen.keys() or time.monotonic() > max(self._written.values()) + 20
        )
