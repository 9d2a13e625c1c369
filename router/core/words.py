"""What an order compared of a vendor, metric by metric, for people. Pure."""

from typing import NamedTuple

from router.core.figures import NOTHING, Figure, figure_of
from router.core.model import Plan, Strategy
from router.core.rank import code_quality
from router.core.row import Row
from router.snapshot.store import Snapshot
from schemas.events import SortKey
from tariffs.order import PPM, UNITS, Metric

_SHOWN = {"asr": "{:.1f} %", "ner": "{:.1f} %", "acd": "{:.1f} s", "pdd": "{:.2f} s"}


class Values(NamedTuple):
    """What an order compares of a vendor, in the order's own order; a metric stands where a call has its value."""

    each: tuple[SortKey | Metric, ...]
    by_code: bool  # whether one of them is of the vendor's quality for its code
    usual: list[SortKey] | None  # all, where nothing is known for its code; None: more depends on the call


def values_of(strategy: Strategy, snapshot: Snapshot, number: int) -> Values:
    """The values of a vendor. Cost and route priority have their own fields."""
    of_call = {"code_length", "price_priority"} if snapshot.config.price_priorities else {"code_length"}
    metrics = [metric for metric in strategy.order if metric.name not in ("cost", "route_priority")]
    each = tuple(
        metric if metric.by_code or metric.name in of_call else _sort_key(strategy, metric, number)
        for metric in metrics
    )
    usual = [_of_figure(one, one.figure, NOTHING) if isinstance(one, Metric) and one.by_code else one for one in each]
    same = [one for one in usual if isinstance(one, SortKey)]
    return Values(each, any(metric.by_code for metric in metrics), same if len(same) == len(usual) else None)


def sort_keys(row: Row, number: int, code: str, values: Values) -> list[SortKey]:
    """All the values of a vendor with a price in a call."""
    if values.usual is not None and (not values.by_code or code_quality(row, number, code) is None):
        return values.usual
    return [one if isinstance(one, SortKey) else _of_call(row, one, number, code) for one in values.each]


def _of_call(row: Row, metric: Metric, number: int, code: str) -> SortKey:
    if metric.by_code:
        quality = code_quality(row, number, code)
        return _of_figure(metric, metric.figure, figure_of(quality, metric.figure, row.now_ms, row.strategy.rules))
    value = len(code) if metric.name == "code_length" else row.price_priority(number)
    return SortKey(metric=metric.name, value=str(value))


def _sort_key(strategy: Strategy, metric: Metric, number: int) -> SortKey:
    if metric.name == "target":
        if strategy.target is None:
            return SortKey(metric="target", value="none is set", neutral="no target")
        found = _of_figure(metric, strategy.target.figure, strategy.figures["target"][number])
        if strategy.target.wanted is None:
            return SortKey(metric="target", value=found.value, neutral=f"customer: {strategy.target.own.neutral}")
        wanted = _SHOWN[strategy.target.figure].format(strategy.target.wanted / UNITS[strategy.target.figure])
        return SortKey(
            metric="target",
            value=f"{strategy.target.figure} {found.value}, wanted {wanted}",
            sample=found.sample,
            neutral=found.neutral,
        )
    if metric.figure:
        return _of_figure(metric, metric.figure, strategy.figures[metric.name][number])
    return SortKey(metric=metric.name, value=_plain_value(strategy.plan, metric, number))


def _plain_value(plan: Plan, metric: Metric, number: int) -> str:
    if metric.name == "peer_priority":
        return str(plan.vendors[number].priority)
    if metric.name == "portion":
        return f"{plan.placed[number].entry.portion} %"
    return "0" if metric.name == "price_priority" else "drawn"  # where a price has one, a call tells it


def _of_figure(metric: Metric, name: str, figure: Figure) -> SortKey:
    value = figure.value if figure.value is not None else metric.assumed(name)
    shown = _SHOWN[name].format(value / (PPM if name in ("asr", "ner") else 1000))
    return SortKey(
        metric=metric.name,
        value=shown if figure.value is not None else f"{shown} assumed",
        sample=figure.sample,
        neutral=figure.neutral,
    )
