"""P10: what a router's prices take in memory, and how long they take to build, to replace one vendor, to start from."""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from bench.figures import percentile, say
from bench.price_world import CUSTOMER_ID, EXPECTED_SECONDS, make_market, make_numbers, publish, vendor_bytes
from router.core import Request, World, decide
from router.snapshot import store
from router.snapshot.code_index import keys_of, split_keys
from router.snapshot.prices import Deck


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
        built, *build = _timed(lambda: publish(directory, market))
        say("one vendor's deck replaced")
        first, *others = market.vendor_decks
        dearer = first._replace(prices_e8=first.prices_e8 + (first.prices_e8 > 0))
        changed = dataclasses.replace(market, vendor_decks=[dearer, *others])
        replaced, *replace = _timed(lambda: publish(directory, changed, "g2", built, {1: 2}))
        say("another deck, with other codes")
        codes = split_keys(first.keys)
        longer = keys_of(codes[0] * 10 + 1, codes[1] + 1)
        other = Deck(numpy.sort(numpy.where(codes[1] > 8, longer, first.keys)), first.prices_e8, first.price_ids)
        changed = dataclasses.replace(market, vendor_decks=[other, *others])
        recoded, *recode = _timed(lambda: publish(directory, changed, "g3", replaced, {1: 3}))
        say("a change of anything but prices")
        _, *configure = _timed(lambda: publish(directory, changed, "g4", recoded, {1: 3}))
        request = Request(f"c-{CUSTOMER_ID}", "127.0.0.10:5060", make_numbers(market, 1)[0], "12125550123")

        def start_cold() -> None:
            decide(World(store.load(directory, "g2")), request, 0, expected_seconds=EXPECTED_SECONDS)

        cold = [_timed(start_cold)[1] for _ in range(5)]
        size = vendor_bytes(directory, replaced)
    return {
        "prices": prices,
        "vendors": options.vendors,
        "codes": len(market.codes),
        "bytes_per_price": round(size / prices, 2),
        "build_seconds": round(build[0], 2),
        "replace_seconds": round(replace[0], 2),
        "replace_with_other_codes_seconds": round(recode[0], 2),
        "configuration_change_seconds": round(configure[0], 4),
        "cpu_seconds": [round(one[1], 3) for one in (build, replace, recode, configure)],
        "cold_start_seconds": round(percentile(cold, 0.5), 4),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, and how many seconds it took by the clock and of the processor."""
    began, used = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - began, time.process_time() - used
