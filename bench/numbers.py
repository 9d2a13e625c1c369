"""NUMBERS: what patterns, blocks and pools cost a decision, and a million numbers from a file into a router.

The same decisions on the same prices, without any rule and with rules of each kind; the order of the runs turns, so
that a noisy machine is noisy for all of them.
"""

import argparse
import dataclasses
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy

from bench.figures import percentile, say
from bench.price_world import CUSTOMER_ID, EXPECTED_SECONDS, make_market, make_numbers, publish
from router.core import Request, World, decide
from router.snapshot import store
from router.snapshot.numbers import Numbers
from router.snapshot.pools import NumberSet
from router.snapshot.rules import BlockRule, NumberRules, Translation

NOW_MS = 1_795_609_900_000
_POOL = 1_000_000
_ROUNDS = 5


def measure(arguments: list[str]) -> dict[str, Any]:
    """Median microseconds of a decision by what rules there are; p99 beside it."""
    parser = argparse.ArgumentParser(prog="bench NUMBERS")
    parser.add_argument("--prices", type=int, default=200_000)
    parser.add_argument("--vendors", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=4_000)
    options = parser.parse_args(arguments)
    market = make_market(options.prices, options.vendors, priorities=1)
    with tempfile.TemporaryDirectory(prefix="streamco-bench-") as place:
        publish(Path(place), market)
        plain = store.load(Path(place), "g1")
        numbers = _pool(Path(place) / "pool.npy")
        snapshots = {name: dataclasses.replace(plain, numbers=made) for name, made in _rules(plain, numbers).items()}
        requests = [
            Request(f"c-{CUSTOMER_ID}", "127.0.0.10:5060", number, "12125550123")
            for number in make_numbers(market, options.decisions)
        ]
        times: dict[str, list[float]] = {name: [] for name in snapshots}
        routes = dict.fromkeys(snapshots, 0)
        for number in range(_ROUNDS + 1):
            say(f"round {number} of {_ROUNDS}")
            for name, snapshot in snapshots.items():
                gc.collect()
                took, found = _time(snapshot, requests)
                if number:  # the first warms up
                    times[name] += took
                    routes[name] = found
        figures: dict[str, Any] = {"pool_numbers": len(numbers), "vendors": options.vendors}
        for name, took in times.items():
            figures |= {
                f"{name}_p50_us": round(percentile(took, 0.5), 2),
                f"{name}_p99_us": round(percentile(took, 0.99), 1),
                f"{name}_routes": round(routes[name] / len(requests), 2),
            }
        return figures


def _rules(plain: store.Snapshot, numbers: NumberSet) -> dict[str, Numbers]:
    customer = CUSTOMER_ID
    vendors = [peer.peer_id for peer in plain.vendors]
    inward = tuple(Translation(customer, "callee", pattern, "+") for pattern in ("^011", "^0011", "^810"))
    outward = tuple(
        Translation(vendor, field, "^", "+")
        for vendor in vendors
        for field in ("callee", "caller")
    )  # fmt: skip
    prefixes = tuple(BlockRule(customer, "callee", f"999{number}", rank=7) for number in range(1_000, 3_000))
    pool = (BlockRule(0, "callee_pool", "a million", pool_id=1),)
    others = tuple(Translation(customer + 1_000_000, "callee", "^0", "") for _ in range(3))
    pools = {1: numbers}
    return {
        "no_rules": Numbers(NumberRules(), {}, frozenset((customer, customer + 1_000_000))),
        "rules_of_others": Numbers(NumberRules(others), {}, frozenset((customer, customer + 1_000_000))),
        "three_patterns_in": Numbers(NumberRules(inward), {}, frozenset((customer, customer + 1_000_000))),
        "two_patterns_out_each_vendor": Numbers(NumberRules(outward), {}, frozenset((customer, customer + 1_000_000))),
        "prefixes_2000": Numbers(NumberRules(blocks=prefixes), pools, frozenset((customer, customer + 1_000_000))),
        "pool_of_a_million": Numbers(NumberRules(blocks=pool), pools, frozenset((customer, customer + 1_000_000))),
    }


def _pool(path: Path) -> NumberSet:
    keys = numpy.sort(numpy.random.default_rng(1).integers(10**11, 10**12, _POOL) * 16 + 12)
    numpy.save(path, keys)
    return memoryview(numpy.load(path, mmap_mode="r"))


def _time(snapshot: store.Snapshot, requests: list[Request]) -> tuple[list[float], int]:
    clock = time.perf_counter_ns
    times: list[float] = []
    routes = 0
    for request in requests:
        began = clock()
        decision = decide(World(snapshot), request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
        times.append((clock() - began) / 1_000)
        routes += len(decision.routes)
    return times, routes
