"""P6: freshness: from the hang-up (the journal's line) to the moment when a dashboard's query sees the call.

A writer appends calls to the journal at a steady rate, as a node does; the real agent and workers carry them.
ClickHouse is asked again and again for new calls: what the wall would show if it were drawn at that moment.
"""

import argparse
import threading
import time
from typing import Any

from bench.figures import percentile, say
from bench.line_stack import LineStack
from bench.line_world import make_calls
from runtime.clickhouse import connect

WARM_SECONDS = 5.0
POLL_SECONDS = 0.05
_NEW = "SELECT call_id FROM legs WHERE leg = 0 AND rated_at > now64(3) - INTERVAL 6 SECOND"


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P6")
    parser.add_argument("--cps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args(arguments)
    ended: dict[str, float] = {}
    seen: dict[str, float] = {}
    legs = 0
    with LineStack() as stack:
        stack.start_streams("billing", "cdrs", "live")
        stack.journal.touch()
        stack.start_agent()
        say(f"{options.cps} calls a second for {options.seconds + WARM_SECONDS:.0f} s")
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(stack, seen, stop))
        watcher.start()
        try:
            began = time.time()
            with stack.journal.open("ab", buffering=0) as journal:
                for number, caller in enumerate(make_calls(stack.parties)):
                    at = began + number / options.cps
                    if at > began + WARM_SECONDS + options.seconds:
                        break
                    if (wait := at - time.time()) > 0:
                        time.sleep(wait)
                    now = time.time()
                    call = caller.lines(int(now * 1000))
                    journal.write(call.text)
                    legs += call.legs
                    if at > began + WARM_SECONDS:
                        ended[call.call_id] = now
            deadline = time.monotonic() + 60
            while not ended.keys() <= seen.keys():
                stack.check()
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{len(ended.keys() - seen.keys())} calls were never seen: {stack.said()}")
                time.sleep(0.2)
        finally:
            stop.set()
            watcher.join()
    times = [seen[call_id] - at for call_id, at in ended.items()]
    return {
        "cps": options.cps,
        "calls": len(ended),
        "legs": legs,
        "p50_seconds": round(percentile(times, 0.5), 3),
        "p99_seconds": round(percentile(times, 0.99), 3),
        "max_seconds": round(max(times), 3),
        "poll_seconds": POLL_SECONDS,
    }


def _watch(stack: LineStack, seen: dict[str, float], stop: threading.Event) -> None:
    with connect(stack.clickhouse) as client:
        while not stop.wait(POLL_SECONDS):
            found = client.query(_NEW).result_rows
            now = time.time()
            for (call_id,) in found:
                seen.setdefault(call_id, now)
