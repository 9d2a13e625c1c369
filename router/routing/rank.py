"""Puts vendors in any order: a key for each metric over all of them at once, and one sort. Pure."""

from typing import Any

import numpy
from numpy.typing import NDArray

from router.routing import draws
from router.routing.figures import Figure, figure_of, rank_of, vendor_key
from router.routing.order import UNITS, Metric
from router.routing.row import Row


def within(row: Row, most_cost_e8: int) -> NDArray[Any]:
    """The numbers of the vendors that may be tried and cost no more."""
    found: NDArray[Any] = numpy.flatnonzero(row.strategy.usable & (row.costs() <= most_cost_e8))
    return found


def rank(row: Row, numbers: NDArray[Any]) -> list[int]:
    """These vendors in the strategy's order: by tier, the metrics that are left, cost, number."""
    strategy = row.strategy
    costs = row.costs()[numbers]
    keys = [costs, *(_keys(row, metric, numbers, costs) for metric in reversed(strategy.rest))]
    if len(strategy.tiers) > 1:
        keys.append(strategy.tier_of[numbers])
    ranked: list[int] = numbers[numpy.lexsort(keys)].tolist()
    return ranked


def code_figure(row: Row, metric: Metric, number: int, code: str, now_ms: int) -> Figure:
    """The figure of a vendor for its code as bought."""
    strategy = row.strategy
    quality = strategy.quality.get(vendor_key(strategy.plan.vendors[number].peer_id, code))
    return figure_of(quality, metric.figure, now_ms, strategy.rules)


def _keys(row: Row, metric: Metric, numbers: NDArray[Any], costs: NDArray[Any]) -> NDArray[Any]:
    strategy = row.strategy
    if metric.name == "cost":
        return _rounded(costs, metric.step(UNITS["cost"]))
    if metric.name == "random":
        return draws.draws(strategy.salts[numbers], row.seed, draws.RANDOM)
    if metric.name == "portion":
        waits: NDArray[Any] = draws.waits(strategy.salts[numbers], row.seed) * strategy.shares[numbers]
        return waits
    if metric.name == "code_length":
        return -_rounded(row.lengths(numbers), metric.step(1))
    if metric.name == "price_priority":
        return _rounded(row.price_priorities(numbers), metric.step(1))
    if metric.by_code:
        return _code_keys(row, metric, numbers)
    ranks: NDArray[Any] = strategy.ranks[metric.name][numbers]
    return ranks


def _rounded(values: NDArray[Any], step: int) -> NDArray[Any]:
    wide = values.astype(numpy.int64)
    return wide if step == 1 else (2 * wide + step) // (2 * step)


def _code_keys(row: Row, metric: Metric, numbers: NDArray[Any]) -> NDArray[Any]:
    callee, now_ms = row.callee, row.now_ms
    places = [
        rank_of(metric, code_figure(row, metric, number, callee[:length], now_ms), None)
        for number, length in zip(numbers.tolist(), row.lengths(numbers).tolist(), strict=True)
    ]
    return numpy.array(places, dtype=numpy.int64)
