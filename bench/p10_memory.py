"""P10: what a router's prices take in memory, and how long they take to build, to replace one vendor, to start from."""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import percentile, say
from bench.price_world import CUSTOMER_ID, EXPECTED_SECONDS, make_market, make_numbers, publish, vendor_bytes
from router.routing import Request, World, decide
from router.snapshot import store


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P10")
    parser.add_argument("--prices", type=int, default=10_000_000)
    parser.add_argument("--vendors", type=int, default=100)
    options = parser.parse_args(arguments)
    say(f"making {options.prices} prices of {options.vendors} vendors")
    market = make_market(options.prices, options.vendors)
    prices = sum(len(deck.keys) for deck in market.vendor_decks)
    with tempfile.TemporaryDirectory(prefix="streamco-bench-") as place:
        directory = Path(place)
        say("building from arrays")
        began = time.perf_counter()
        built = publish(directory, market)
        build_seconds = time.perf_counter() - began
        say("one vendor's deck replaced")
        first, *others = market.vendor_decks
        dearer = first._replace(prices_e8=first.prices_e8 + (first.prices_e8 > 0))
        changed = dataclasses.replace(market, vendor_decks=[dearer, *others])
        began = time.perf_counter()
        replaced = publish(directory, changed, "g2", built, {1: 2})
        replace_seconds = time.perf_counter() - began
        request = Request(f"c-{CUSTOMER_ID}", "127.0.0.10:5060", make_numbers(market, 1)[0], "12125550123")

        def start_cold() -> None:
            decide(World(store.load(directory, "g2")), request, 0, expected_seconds=EXPECTED_SECONDS)

        cold = [_seconds(start_cold) for _ in range(5)]
        size = vendor_bytes(directory, replaced)
    return {
        "prices": prices,
        "vendors": options.vendors,
        "codes": len(market.codes),
        "bytes_per_price": round(size / prices, 2),
        "build_seconds": round(build_seconds, 2),
        "replace_seconds": round(replace_seconds, 2),
        "cold_start_seconds": round(percentile(cold, 0.5), 4),
    }


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
