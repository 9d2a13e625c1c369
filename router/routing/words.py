"""What an order compared of a vendor, metric by metric, for people. Pure."""

from functools import lru_cache

from router.routing.figures import NOTHING, Figure
from router.routing.model import Plan, Priced, Strategy
from router.routing.order import PPM, UNITS, Metric
from router.routing.rank import code_figure
from router.routing.row import Row
from router.snapshot.store import Snapshot
from schemas.events import SortKey

_SHOWN = {"asr": "{:.1f} %", "ner": "{:.1f} %", "acd": "{:.1f} s", "pdd": "{:.2f} s"}


Values = tuple[SortKey | Metric, ...]  # a metric: its value depends on the call


def values_of(strategy: Strategy, snapshot: Snapshot, number: int) -> Values:
    """The values of a vendor, in the order's own order, and the metrics that have one in a call only.

    Cost and route priority have their own fields.
    """
    of_call = {"code_length", "price_priority"} if snapshot.config.price_priorities else {"code_length"}
    return tuple(
        metric if metric.by_code or metric.name in of_call else _sort_key(strategy, metric, number)
        for metric in strategy.order
        if metric.name not in ("cost", "route_priority")
    )


def sort_keys(row: Row, number: int, price: Priced, values: Values) -> list[SortKey]:
    """All the values of a vendor with a price in a call."""
    return [one if isinstance(one, SortKey) else _of_call(row, one, number, price) for one in values]


def _of_call(row: Row, metric: Metric, number: int, price: Priced) -> SortKey:
    if metric.by_code:
        figure = code_figure(row, metric, number, price.code, row.now_ms)
        return _of_nothing(metric) if figure is NOTHING else _of_figure(metric, metric.figure, figure)
    value = len(price.code) if metric.name == "code_length" else row.price_priority(number)
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


@lru_cache(maxsize=256)
def _of_nothing(metric: Metric) -> SortKey:
    return _of_figure(metric, metric.figure, NOTHING)


def _of_figure(metric: Metric, name: str, figure: Figure) -> SortKey:
    value = figure.value if figure.value is not None else metric.assumed(name)
    shown = _SHOWN[name].format(value / (PPM if name in ("asr", "ner") else 1000))
    return SortKey(
        metric=metric.name,
        value=shown if figure.value is not None else f"{shown} assumed",
        sample=figure.sample,
        neutral=figure.neutral,
    )
