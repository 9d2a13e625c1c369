"""OVERLOAD: three times the calls that the router can take, with a hold for each: how many it takes, and how quickly.

The best is measured by sessions that follow each other, in turns with the overload, by the same client.
"""

import argparse
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from bench.figures import percentile, say
from bench.p2_session import HERE, Client, serving, start_servers
from streamco.embedded.temporary import TemporaryServers


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures; of each kind the median of the turns."""
    parser = argparse.ArgumentParser(prog="bench OVERLOAD")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--times", type=float, default=3.0, help="as many times the best")
    parser.add_argument("--at-once", type=int, default=32, help="for the best")
    parser.add_argument("--no-admission", action="store_true", help="without holds: the processor is the bound")
    parser.add_argument(
        "--against", type=Path, help="another working tree, whose router is measured in turns with ours"
    )
    options = parser.parse_args(arguments)
    trees = {"": HERE} | ({"before_": options.against} if options.against else {})
    with TemporaryServers() as servers, contextlib.ExitStack() as stack:
        values = start_servers(servers)
        client = Client()
        stack.callback(client.close)
        figures: dict[str, Any] = {"times": options.times}
        ports = {
            name: stack.enter_context(
                serving("router", servers.directory / f"{name}o", values, tree=tree, admission=not options.no_admission)
            ).port
            for name, tree in trees.items()
        }
        client.ask(do="fast", port=ports[""], seconds=1, at_once=options.at_once)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in ports}
        for _ in range(options.turns):
            for name, port in ports.items():
                found[name].append(_turn(client, port, options))
                shown = {key: value for key, value in found[name][-1].items() if key != "times"}
                say(f"{name}{shown}, p99 {percentile(found[name][-1]['times'] or [0.0], 0.99) * 1000:.0f} ms")
        for name, turns in found.items():
            figures |= {f"{name}{key}": value for key, value in _summary(turns).items()}
    return figures


def _turn(client: Client, port: int, options: argparse.Namespace) -> dict[str, Any]:
    best = client.ask(do="fast", port=port, seconds=options.seconds, at_once=options.at_once)
    per_second = best["allowed"] / best["seconds"]
    beyond = client.ask(do="beyond", port=port, seconds=options.seconds, rate=per_second * options.times)
    return {"best_per_second": per_second, **beyond}


def _summary(turns: list[dict[str, Any]]) -> dict[str, Any]:
    became: Counter[str] = Counter()
    for turn in turns:
        became.update(turn["became"])
    times = [took for turn in turns for took in turn["times"]] or [0.0]
    goodput = [turn["allowed_per_second"] / max(1.0, turn["best_per_second"]) for turn in turns]
    return {
        "best_per_second": round(percentile([turn["best_per_second"] for turn in turns], 0.5)),
        "offered_per_second": round(percentile([turn["offered_per_second"] for turn in turns], 0.5)),
        "allowed_per_second": round(percentile([turn["allowed_per_second"] for turn in turns], 0.5)),
        "goodput": round(percentile(goodput, 0.5), 2),
        "allowed_p50_ms": round(percentile(times, 0.5) * 1000, 1),
        "allowed_p99_ms": round(percentile(times, 0.99) * 1000, 1),
        "became": dict(sorted(became.items())),
    }
