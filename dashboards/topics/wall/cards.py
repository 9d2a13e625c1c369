"""The wall's ten figures against an hour ago. Pure."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from dashboards.kit import formats
from dashboards.kit.figures import MIN_SAMPLE, Sums, state_of
from dashboards.kit.live import LiveView
from dashboards.kit.shared import State, card, silent_nodes, too_few
from dashboards.kit.spark import spark
from schemas.ids import node_of

CPS_SECONDS: Final = 60


class Minute(NamedTuple):
    """One minute of the last hour."""

    at: int
    sums: Sums
    attempts: int
    concurrent: int


def figure_cards(
    now: Sums, before: Sums, attempts: tuple[int, int], minutes: Sequence[Minute], view: LiveView, now_ms: int
) -> list[Any]:
    """The ten figures."""
    silent = silent_nodes(view, now_ms)
    unknown = sum(1 for call in view.calls if call.ended_at_ms is None and node_of(call.call_id) in silent)
    up = f"{unknown:,} of them last known" if silent else "up or in set-up"
    figure, was = now.figure("calls"), before.figure("calls")
    talking = sum(1 for call in view.calls if call.ended_at_ms is None)
    hour_ago = minutes[0].concurrent if minutes else None
    each = [minute.sums.figure("calls") for minute in minutes]
    cps, cps_before = (count / CPS_SECONDS for count in attempts)
    had_traffic = was.attempts > 0
    cards = [
        card("Concurrent", formats.count(talking) if view.complete else formats.UNKNOWN,
             formats.change(talking, hour_ago if had_traffic else None, decimals=0), more=up,
             picture=spark([minute.concurrent for minute in minutes])),
        card("CPS", f"{cps:.1f}", formats.change(cps, cps_before if attempts[1] else None),
             more=f"{attempts[0]:,} in {CPS_SECONDS} s", picture=spark([m.attempts for m in minutes])),
        _ratio_card("ASR", figure.asr_percent, was.asr_percent, figure.attempts, "calls", state_of(figure, was),
                    [one.asr_percent for one in each]),
        _card("ACD", formats.duration(figure.acd_seconds), figure.acd_seconds, was.acd_seconds, " s",
              f"{figure.answered:,} answered", [one.acd_seconds for one in each]),
        _ratio_card("NER", figure.ner_percent, was.ner_percent, figure.judged, "judged", "normal",
                    [one.ner_percent for one in each]),
        _card("PDD", formats.seconds(figure.mean_pdd_ms), _thousandth(figure.mean_pdd_ms), _thousandth(was.mean_pdd_ms),
              " s", f"mean of {figure.with_pdd:,}", [one.mean_pdd_ms for one in each]),
        _card("Minutes", f"{figure.minutes:,.0f}", figure.minutes, was.minutes if had_traffic else None, "",
              f"{now.refused:,} calls refused", [one.minutes for one in each]),
    ]  # fmt: skip
    return cards + _money_cards(now, before, minutes)


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _card(
    title: str, value: str, now: float | None, before: float | None, unit: str, more: str, each: Sequence[float | None]
) -> Any:
    return card(title, value, formats.change(now, before, unit=unit), more=more, picture=spark(each))


def _ratio_card(
    title: str, now: float | None, before: float | None, sample: int, what: str, state: State,
    each: Sequence[float | None],
) -> Any:  # fmt: skip
    if now is None or sample < MIN_SAMPLE:
        return card(title, formats.UNKNOWN, too_few(sample), picture=spark(each), state="few")
    under = formats.change(now, before, unit=" pt")
    return card(title, f"{now:.1f}{formats.THIN}%", under, more=f"{sample:,} {what}", picture=spark(each), state=state)


def _money_cards(now: Sums, before: Sums, minutes: Sequence[Minute]) -> list[Any]:
    currencies = now.currencies() or before.currencies() or [""]
    main = currencies[0]

    def one(title: str, read: Any) -> Any:
        others = [formats.money(read(now, name), name) for name in currencies[1:]]
        was = read(before, main) if before.currencies() else None
        under = formats.change(read(now, main) / 1e6, None if was is None else was / 1e6, decimals=2)
        picture = spark([read(minute.sums, main) for minute in minutes])
        return card(title, formats.money(read(now, main)), under, more=" · ".join([main, *others]), picture=picture)

    return [
        one("Revenue", lambda sums, name: sums.revenue_micros.get(name, 0)),
        one("Cost", lambda sums, name: sums.cost_micros.get(name, 0)),
        one("Margin", lambda sums, name: sums.margin_micros(name)),
    ]
