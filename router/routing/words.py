"""What an order compared of a vendor, metric by metric, for people. Pure."""

from router.routing.figures import Figure
from router.routing.model import Priced
from router.routing.order import PPM, UNITS, Metric
from router.routing.rank import code_figure
from router.routing.row import Row
from schemas.events import SortKey

_SHOWN = {"asr": "{:.1f} %", "ner": "{:.1f} %", "acd": "{:.1f} s", "pdd": "{:.2f} s"}


def sort_keys(row: Row, number: int, price: Priced) -> list[SortKey]:
    """The values of a vendor with a price, in the order's own order; cost and route priority have their own fields."""
    return [
        _sort_key(row, metric, number, price)
        for metric in row.strategy.order
        if metric.name not in ("cost", "route_priority")
    ]


def _sort_key(row: Row, metric: Metric, number: int, price: Priced) -> SortKey:
    strategy = row.strategy
    if metric.by_code:
        return _of_figure(metric, metric.figure, code_figure(row, metric, number, price.code, row.now_ms))
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
    return SortKey(metric=metric.name, value=_plain_value(row, metric, number, price))


def _plain_value(row: Row, metric: Metric, number: int, price: Priced) -> str:
    plan = row.strategy.plan
    if metric.name == "peer_priority":
        return str(plan.vendors[number].priority)
    if metric.name == "portion":
        return f"{plan.placed[number].entry.portion} %"
    if metric.name == "code_length":
        return str(len(price.code))
    if metric.name == "price_priority":
        return str(row.price_priority(number))
    return "drawn"


def _of_figure(metric: Metric, name: str, figure: Figure) -> SortKey:
    value = figure.value if figure.value is not None else metric.assumed(name)
    shown = _SHOWN[name].format(value / (PPM if name in ("asr", "ner") else 1000))
    return SortKey(
        metric=metric.name,
        value=shown if figure.value is not None else f"{shown} assumed",
        sample=figure.sample,
        neutral=figure.neutral,
    )
