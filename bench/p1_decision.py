"""P1: one routing decision, in one process: identification, longest prefix, candidates, profit control, order, reasons.

Beside it the naive way on the same prices and numbers, in the same run; both must give the same vendors.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import percentile, say
from bench.naive import NaiveRouting
from bench.price_world import (
    CUSTOMER_ID,
    EXPECTED_SECONDS,
    ORDERS,
    Market,
    make_market,
    make_numbers,
    make_quality,
    publish,
)
from router.core import Decision, Request, World, candidates_json, decide
from router.snapshot import store

NOW_MS = 1_795_609_900_000


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures. Times of single decisions in microseconds."""
    parser = argparse.ArgumentParser(prog="bench P1")
    parser.add_argument("--prices", type=int, default=10_000_000)
    parser.add_argument("--vendors", type=int, default=100)
    parser.add_argument("--decisions", type=int, default=60_000)
    parser.add_argument("--naive-decisions", type=int, default=4_000)
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    for priorities in (1, 10):
        say(f"making {options.prices} prices of {options.vendors} vendors, {priorities} priorities")
        market = make_market(options.prices, options.vendors, priorities=priorities)
        with tempfile.TemporaryDirectory(prefix="streamco-bench-") as place:
            publish(Path(place), market)
            snapshot = store.load(Path(place), "g1")
            world = World(snapshot, make_quality(market, NOW_MS))
            numbers = make_numbers(market, options.decisions)
            requests = _requests(numbers, 0)
            times, reasons = _time_decisions(world, requests)
            name = "" if priorities == 1 else "priorities_"
            figures |= _percentiles(name, times)
            if priorities == 1:
                figures |= {
                    "decisions_per_second": round(len(times) / sum(times) * 1e6),
                    "reasons_p50_us": round(percentile(reasons, 0.5), 1),
                }
                figures |= _compare(market, snapshot, requests[: options.naive_decisions], figures["p50_us"])
                figures["orders"] = {}
                for at, order in enumerate(ORDERS[1:], start=1):
                    times, reasons = _time_decisions(world, _requests(numbers, at))
                    figures["orders"][order] = {
                        **_percentiles("", times),
                        "reasons_p50_us": round(percentile(reasons, 0.5), 1),
                    }
    return {
        "prices": sum(len(deck.keys) for deck in market.vendor_decks),
        "vendors": options.vendors,
        "codes": len(market.codes),
        **figures,
    }


def _requests(numbers: list[str], customer: int) -> list[Request]:
    return [
        Request(f"c-{CUSTOMER_ID + customer}", f"127.0.0.{10 + customer}:5060", number, "12125550123", seed)
        for seed, number in enumerate(numbers)
    ]


def _percentiles(name: str, times: list[float]) -> dict[str, float]:
    return {
        f"{name}p50_us": round(percentile(times, 0.5), 1),
        f"{name}p99_us": round(percentile(times, 0.99), 1),
    }


def _time_decisions(world: World, requests: list[Request]) -> tuple[list[float], list[float]]:
    """Microseconds of each decision, and of explaining every hundredth of them."""
    say(f"{len(requests)} decisions")
    for request in requests[:2_000]:
        decide(world, request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
    gc.collect()
    clock = time.perf_counter_ns
    times: list[float] = []
    for request in requests:
        began = clock()
        decide(world, request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
        times.append((clock() - began) / 1_000)
    reasons: list[float] = []
    for request in requests[::100]:
        decision = decide(world, request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
        began = clock()
        candidates_json(decision)
        reasons.append((clock() - began) / 1_000)
    return times, reasons


def _compare(market: Market, snapshot: store.Snapshot, requests: list[Request], ours_us: float) -> dict[str, Any]:
    say("the naive way: a dict of codes for each vendor")
    naive = NaiveRouting(market)
    gc.collect()
    place = {peer.peer_id: at for at, peer in enumerate(snapshot.vendors)}
    times: list[float] = []
    taken = 0
    for request in requests:
        decision = decide(World(snapshot), request, NOW_MS, expected_seconds=EXPECTED_SECONDS)
        began = time.perf_counter_ns()
        vendors = naive.route(request.callee, decision.most_cost_e8)
        times.append((time.perf_counter_ns() - began) / 1_000)
        _same(decision, [place[route.vendor.peer_id] for route in decision.routes], vendors)
        taken += len(vendors)
    naive_us = percentile(times, 0.5)
    return {
        "routes_per_decision": round(taken / len(requests), 2),
        "naive_p50_us": round(naive_us, 1),
        "naive_p99_us": round(percentile(times, 0.99), 1),
        "naive_times_slower": round(naive_us / ours_us, 1),
        "answers_compared": len(requests),
    }


def _same(decision: Decision, ours: list[int], naive: list[int]) -> None:
    if ours != naive:
        raise AssertionError(f"{decision.inbound.callee}: {ours} by the router, {naive} by the naive way")
