"""P5: the stream: a journal written beforehand → agent → Kafka → rated → ledger and CDR, audited equal.

All servers and all processes of the line share this machine's cores. The journal has hunts, refusals, and a hold to
release for each routed call; the clock runs from the agent's start until the last leg is in both stores.
"""

import argparse
import time
from typing import Any

from bench.figures import say
from bench.line_past import is_equal, load_past
from bench.line_stack import LineStack
from bench.line_world import make_calls, make_holds
from sinks.audit.full.audit import audit

LEGS_A_CALL = 2.3


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P5")
    parser.add_argument("--legs", type=int, default=1_000_000)
    parser.add_argument("--calls-per-second", type=int, default=2_000, help="of the journal's own clock")
    parser.add_argument("--workers", type=int, default=1, help="of billing, and of the CDRs")
    parser.add_argument("--behind", type=int, default=0, help="legs that are in ledger and CDRs already")
    options = parser.parse_args(arguments)
    further = [f"{role}-{number}" for number in range(1, options.workers) for role in ("billing", "cdrs")]
    with LineStack() as stack:
        legs, calls = _write_journal(stack, options.legs, options.calls_per_second)
        if options.behind:
            load_past(stack, stack.parties, options.behind)
        stack.mark_past()
        stack.start_streams("billing", "cdrs", "live", *further)
        idle = stack.cpu_seconds()
        say(f"{legs} legs of {calls} calls wait in the journal")
        began = time.monotonic()
        stack.start_agent()
        seconds = _await(stack, legs, began)
        used, memory = stack.cpu_seconds(), stack.memory_megabytes()
        if options.behind:  # the legs of the past have no journal: the new ones are compared by number and money
            ok = is_equal(stack, legs)
        else:
            report = audit(stack.audit_settings, settle_seconds=60)
            ok = report.ok
            for difference in report.differences[:5]:
                say(f"difference: {difference}")
    return {
        "legs": legs,
        "calls": calls,
        "legs_per_second": round(legs / max(seconds.values())),
        "ledger_legs_per_second": round(legs / seconds["ledger"]),
        "cdr_legs_per_second": round(legs / seconds["cdr"]),
        "cpu_us_per_leg": {name: round((used[name] - idle.get(name, 0)) / legs * 1e6, 1) for name in used},
        "memory_megabytes": memory,
        "workers": options.workers,
        "behind": options.behind,
        "audit_ok": ok,
    }


def _write_journal(stack: LineStack, legs: int, calls_per_second: int) -> tuple[int, int]:
    say(f"writing a journal of {legs} legs")
    made = calls = 0
    held: list[tuple[str, int]] = []
    # The last call ends about now: what ended more than a minute ago leaves the live view while the bench runs.
    start_ms = time.time_ns() // 1_000_000 - int(legs / LEGS_A_CALL / calls_per_second * 1000)
    with stack.journal.open("wb") as journal:
        for caller in make_calls(stack.parties):
            call = caller.lines(start_ms + calls * 1000 // calls_per_second)
            journal.write(call.text)
            if call.account:
                held.append((call.call_id, call.account))
            made += call.legs
            calls += 1
            if made >= legs:
                break
    make_holds(stack.dsn, held)
    return made, calls


def _await(stack: LineStack, legs: int, began: float) -> dict[str, float]:
    """Seconds until all legs are in the ledger, and in the CDRs."""
    done: dict[str, float] = {}
    told = began
    while len(done) < 2:
        time.sleep(1.0)
        stack.check()
        for name, count in (("ledger", stack.legs_posted), ("cdr", stack.legs_written)):
            if name in done:
                continue
            there = count()
            seconds = time.monotonic() - began
            if there >= legs:
                done[name] = seconds
            if time.monotonic() - told > 10:
                say(f"{name}: {there} legs after {seconds:.0f} s")
        if time.monotonic() - told > 10:
            told = time.monotonic()
    return done
