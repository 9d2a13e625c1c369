"""Puts vendors in any order: a key for each metric over all of them at once, and one sort. Pure."""

from typing import Any, Final

import numpy
from numpy.typing import NDArray

from router.core import draws
from router.core.figures import NOTHING, figure_of, rank_of
from router.core.plan import NEVER_MS
from router.core.row import Row
from schemas.quality import Quality
from tariffs.order import UNITS, Metric

MAX_MEMO: Final = 20_000  # codes of vendors whose rank a strategy keeps


def rank(row: Row, numbers: NDArray[Any], costs: NDArray[Any]) -> list[int]:
    """These vendors, who cost so much, in the strategy's order: by tier, the metrics that are left, cost, number."""
    strategy = row.strategy
    known = _known(row, numbers) if strategy.caches.code_ranks else []
    keys = [
        _code_key(row, metric, len(numbers), known) if metric.by_code else _key(row, metric, numbers, costs)
        for metric in reversed(strategy.keys)
    ]
    if len(strategy.tiers) > 1:
        keys.append(strategy.tier_of[numbers])
    ranked: list[int] = numbers[numpy.lexsort(keys)].tolist()
    return ranked


def code_quality(row: Row, number: int, code: str) -> Quality | None:
    """What is known of a vendor for its code as bought."""
    return row.strategy.quality.get(row.strategy.code_prefixes[number] + code)


def _key(row: Row, metric: Metric, numbers: NDArray[Any], costs: NDArray[Any]) -> NDArray[Any]:
    strategy = row.strategy
    if metric.name in strategy.ranks:
        found: NDArray[Any] = strategy.ranks[metric.name][numbers]
        return found
    if metric.name == "cost":
        return _rounded(costs, metric.step(UNITS["cost"])) if metric.step_e8 else costs
    if metric.name == "random":
        return draws.draws(strategy.salts[numbers], row.seed, draws.RANDOM)
    if metric.name == "portion":
        waits: NDArray[Any] = draws.waits(strategy.salts[numbers], row.seed) * strategy.shares[numbers]
        return waits
    if metric.name == "code_length":
        return -_rounded(row.lengths(numbers), metric.step(1))
    return _rounded(row.price_priorities(numbers), metric.step(1))


def _rounded(values: NDArray[Any], step: int) -> NDArray[Any]:
    """The number of steps nearest to each value; half of one goes up. As figures.rounded."""
    wide = values.astype(numpy.int64)
    if step == 1:
        return wide
    found: NDArray[Any] = (2 * wide + step) // (2 * step) if step % 2 else (wide + step // 2) // step
    return found


def _known(row: Row, numbers: NDArray[Any]) -> list[tuple[int, str, Quality]]:
    """What is known of these vendors for their codes: place among them, key, sums. Of most there is nothing."""
    callee, prefixes, quality = row.callee, row.strategy.code_prefixes, row.strategy.quality
    lengths = row.lengths(numbers).tolist()
    codes = {length: callee[:length] for length in set(lengths)}
    keys = [prefixes[number] + codes[length] for number, length in zip(numbers.tolist(), lengths, strict=True)]
    found = map(quality.get, keys)
    return [(at, keys[at], one) for at, one in enumerate(found) if one is not None]


def _code_key(row: Row, metric: Metric, count: int, known: list[tuple[int, str, Quality]]) -> NDArray[Any]:
    """By the vendors' quality for their codes. What was worked out once is kept with the strategy, while it holds."""
    strategy, now_ms = row.strategy, row.now_ms
    memo = strategy.caches.code_ranks[metric.name]
    places = numpy.full(count, rank_of(metric, NOTHING, None), dtype=numpy.int64)
    for at, key, one in known:
        kept = memo.get(key)
        if kept is None or now_ms >= kept[1]:
            figure = figure_of(one, metric.figure, now_ms, strategy.rules)
            if len(memo) >= MAX_MEMO:
                memo.clear()
            kept = memo[key] = (rank_of(metric, figure, None), figure.until_ms or NEVER_MS)
        places[at] = kept[0]
    return places
