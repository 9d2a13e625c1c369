"""Rows of the wall's grids: vendors, customers, destinations. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from dashboards.kit.figures import MIN_SAMPLE, Figure, Kind, Sums, lost_calls, state_of

MAX_ROWS: Final = 500


def rows(named: Mapping[str, tuple[Sums, Sums]], dimension: str, overall: Sums) -> list[dict[str, Any]]:
    """A grid's rows: what lost most answered calls first, then most traffic.

    Money is in the currency that most of a row's is in; another's is not mixed in.
    """
    kind: Kind = "legs" if dimension == "vendor" else "calls"
    currency = (overall.currencies() or [""])[0]
    made = [_row(name, now, before, kind, currency) for name, (now, before) in named.items() if _any(now, before, kind)]
    return sorted(made, key=lambda row: (-row["lost"], -row["attempts"], row["name"]))[:MAX_ROWS]


def _any(now: Sums, before: Sums, kind: Kind) -> bool:
    figure = now.figure(kind)
    return bool(figure.attempts or figure.refused or before.figure(kind).attempts)


def _row(name: str, now: Sums, before: Sums, kind: Kind, currency: str) -> dict[str, Any]:
    figure, was = now.figure(kind), before.figure(kind)
    own = (now.currencies() or [currency])[0]
    money = (now.cost_micros if kind == "legs" else now.revenue_micros).get(own, 0)
    enough = figure.attempts >= MIN_SAMPLE
    return {
        "id": name or "(none)",
        "name": name or "(unknown)",
        "attempts": figure.attempts,
        "refused": figure.refused,
        "lost": lost_calls(figure, was),
        "asr": _one(figure.asr_percent),
        "asr_state": state_of(figure, was),
        "asr_change": _one(_difference(figure, was)) if enough else None,
        "ner": _one(figure.ner_percent),
        "acd": figure.acd_seconds,
        "pdd": _one(None if figure.mean_pdd_ms is None else figure.mean_pdd_ms / 1000),
        "minutes": _one(figure.minutes),
        "money": money / 1e6,
        "margin": now.margin_micros(own) / 1e6,
        "currency": own if own != currency else "",
    }


def _difference(now: Figure, before: Figure) -> float | None:
    if now.asr_percent is None or before.asr_percent is None or before.attempts < MIN_SAMPLE:
        return None
    return now.asr_percent - before.asr_percent


def _one(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
