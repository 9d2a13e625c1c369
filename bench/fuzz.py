"""FUZZ: a million AGI sessions of every bad kind against a router's own process, and good calls beside them.

The router with real PostgreSQL and Kafka, as P2 has it. Bad sessions come in pieces, with a pause after each: so the
good calls beside them are compared with good calls alone on the same machine in the same minutes.
"""

import argparse
import contextlib
import os
import threading
from collections import Counter
from typing import Any

import psutil

from bench.figures import percentile, say
from bench.p2_session import Client, Serving, serving, start_servers
from streamco.embedded.temporary import TemporaryServers

_WARM: int = 20_000


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench FUZZ")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--piece", type=int, default=40_000)
    parser.add_argument("--rate", type=float, default=1_500.0, help="bad sessions a second, at most")
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--good-rate", type=float, default=50.0)
    parser.add_argument("--quiet-seconds", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with TemporaryServers() as servers, contextlib.ExitStack() as stack:
        values = start_servers(servers)
        router = stack.enter_context(serving("router", servers.directory / "router", values, admission=True))
        good, bad = Client(), Client()
        stack.callback(good.close)
        stack.callback(bad.close)
        psutil.Process(bad.pid).nice(5)
        bad.ask(do="fuzz", port=router.port, requests=min(_WARM, options.requests), at_once=options.at_once, seed=0)
        return _fuzz(router, good, bad, options)


def _fuzz(router: Serving, good: Client, bad: Client, options: argparse.Namespace) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    hung: Counter[str] = Counter()
    times: dict[str, list[float]] = {"alone": [], "beside": []}
    asked: Counter[str] = Counter()
    memory = [_megabytes(router)]

    def ask_good(name: str, seconds: float) -> None:
        found = good.ask(do="rate", port=router.port, seconds=seconds, rate=options.good_rate)
        times[name] += found["times"]
        asked[f"{name}_asked"] += found["sessions"]
        asked[f"{name}_not_routed"] += found["sessions"] - found["allowed"]

    left, seed = options.requests, options.seed
    while left > 0:
        ask_good("alone", options.quiet_seconds)
        order = {"requests": min(options.piece, left), "at_once": options.at_once, "seed": seed, "rate": options.rate}
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda order, into: into.append(bad.ask(do="fuzz", port=router.port, **order)),
                                  args=(order, answers))  # fmt: skip
        thread.start()
        while thread.is_alive():
            ask_good("beside", 1.0)
        kinds.update(answers[0]["kinds"])
        hung.update(answers[0]["hung"])
        left, seed = left - order["requests"], seed + 1
        memory.append(_megabytes(router))
        p99 = {name: round(percentile(found, 0.99) * 1000, 1) for name, found in times.items()}
        say(f"{options.requests - left} bad sessions, hung {dict(hung)}, {memory[-1]} MB, p99 ms {p99}")
    return {
        "requests": sum(kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "hung": dict(hung),
        "same_process": router.process.is_running() and router.process.pid == router.pid,
        "open_after": _open_after(router),
        "megabytes_before": memory[0],
        "megabytes_after": memory[-1],
        "megabytes_most": max(memory),
        "good_alone_p50_ms": round(percentile(times["alone"], 0.5) * 1000, 2),
        "good_beside_p50_ms": round(percentile(times["beside"], 0.5) * 1000, 2),
        "good_alone_p99_ms": round(percentile(times["alone"], 0.99) * 1000, 2),
        "good_beside_p99_ms": round(percentile(times["beside"], 0.99) * 1000, 2),
        "p99_ratio": round(percentile(times["beside"], 0.99) / percentile(times["alone"], 0.99), 2),
        "load": round(os.getloadavg()[0], 1),
        **asked,
    }


def _open_after(router: Serving) -> int:
    """Connections that the router still has to whoever asks."""
    here = [one for one in router.process.net_connections("tcp") if one.laddr.port == router.port]
    return sum(one.status == psutil.CONN_ESTABLISHED for one in here)


def _megabytes(router: Serving) -> float:
    return round(router.process.memory_info().rss / (1 << 20), 1)
