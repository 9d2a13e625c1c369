"""Figures of traffic: sums that can be added, and what is made of them. Pure.

Definitions: ASR = answered / admitted calls (or legs sent), ACD = talk / answered, NER after E.425, PDD = mean over
those that had a sign of life. Below MIN_SAMPLE a ratio is shown as too few to say.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

MIN_SAMPLE: Final = 30
AMBER_POINTS: Final = 10.0  # ASR under that of an hour ago by so many points needs a look
RED_POINTS: Final = 20.0
SURE_ERRORS: Final = 2.5  # and by so many standard errors: less is what chance does to small samples
DEAD_PERCENT: Final = 5.0  # an ASR under this needs a look even with nothing to compare with
Kind = Literal["calls", "legs"]


@dataclass(frozen=True)
class Sums:
    """What was counted. Money in micro-units by currency."""

    calls: int = 0
    refused: int = 0
    calls_answered: int = 0
    calls_judged: int = 0
    calls_reached: int = 0
    calls_talk_ms: int = 0
    calls_with_pdd: int = 0
    calls_pdd_ms: int = 0
    legs: int = 0
    legs_answered: int = 0
    legs_judged: int = 0
    legs_reached: int = 0
    legs_talk_ms: int = 0
    legs_with_pdd: int = 0
    legs_pdd_ms: int = 0
    revenue_micros: Mapping[str, int] = field(default_factory=dict)
    cost_micros: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Sums") -> "Sums":
        values: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        values |= {name: _added(getattr(self, name), getattr(other, name)) for name in _MONEY}
        return Sums(**values)

    def figure(self, kind: Kind) -> "Figure":
        """The figures of calls (customers, destinations, all) or of legs (vendors)."""
        part = {name: getattr(self, f"{kind}_{name}") for name in _PARTS}
        attempts = self.calls if kind == "calls" else self.legs
        return Figure(attempts=attempts, refused=self.refused if kind == "calls" else 0, **part)

    def margin_micros(self, currency: str) -> int:
        """Revenue less cost, in one currency."""
        return self.revenue_micros.get(currency, 0) - self.cost_micros.get(currency, 0)

    def currencies(self) -> list[str]:
        """Those with any money, the largest revenue or cost first."""
        names = {*self.revenue_micros, *self.cost_micros}
        size = {n: self.revenue_micros.get(n, 0) + self.cost_micros.get(n, 0) for n in names}
        return sorted((n for n in names if size[n]), key=lambda n: (-size[n], n))


_MONEY: Final = ("revenue_micros", "cost_micros")
_COUNTS: Final = tuple(one.name for one in fields(Sums) if one.name not in _MONEY)
_PARTS: Final = ("answered", "judged", "reached", "talk_ms", "with_pdd", "pdd_ms")


@dataclass(frozen=True)
class Figure:
    """Quality of a number of attempts."""

    attempts: int
    refused: int
    answered: int
    judged: int
    reached: int
    talk_ms: int
    with_pdd: int
    pdd_ms: int

    @property
    def asr_percent(self) -> float | None:
        """Answered of all, in percent; None of none."""
        return 100.0 * self.answered / self.attempts if self.attempts else None

    @property
    def ner_percent(self) -> float | None:
        """Reached of those that can be judged."""
        return 100.0 * self.reached / self.judged if self.judged else None

    @property
    def acd_seconds(self) -> float | None:
        """Talk by answered call."""
        return self.talk_ms / 1000 / self.answered if self.answered else None

    @property
    def mean_pdd_ms(self) -> float | None:
        """Mean over those with a sign of life."""
        return self.pdd_ms / self.with_pdd if self.with_pdd else None

    @property
    def minutes(self) -> float:
        """Talk, unrounded."""
        return self.talk_ms / 60_000


def state_of(now: Figure, before: Figure) -> Literal["normal", "amber", "red", "few"]:
    """How the ASR of now stands to that of an hour ago. Too small a sample says nothing."""
    if not now.attempts and before.attempts >= MIN_SAMPLE:
        return "amber"  # there was traffic and there is none
    if now.attempts < MIN_SAMPLE or now.asr_percent is None:
        return "few"
    if before.attempts < MIN_SAMPLE or before.asr_percent is None:
        return "amber" if now.asr_percent < DEAD_PERCENT else "normal"
    lost = before.asr_percent - now.asr_percent
    if lost < SURE_ERRORS * _standard_error(now, before):
        return "normal"
    return "red" if lost >= RED_POINTS else "amber" if lost >= AMBER_POINTS else "normal"


def _standard_error(one: Figure, other: Figure) -> float:
    """Of the difference of two ASR, in points, if both were the same."""
    pooled = (one.answered + other.answered) / (one.attempts + other.attempts)
    return 100 * math.sqrt(pooled * (1 - pooled) * (1 / one.attempts + 1 / other.attempts))


def lost_calls(now: Figure, before: Figure) -> float:
    """How many answered calls fewer than at the ASR of an hour ago, where that needs a look; else 0."""
    if state_of(now, before) not in ("amber", "red"):
        return 0.0
    if now.asr_percent is None:
        return float(before.answered)
    norm = DEAD_PERCENT if before.attempts < MIN_SAMPLE or before.asr_percent is None else before.asr_percent
    return (norm - now.asr_percent) * now.attempts / 100


def read_sums(row: Mapping[str, Any]) -> Sums:
    """One row of the query, of one currency."""
    currency = str(row["currency"])
    values: dict[str, Any] = {name: int(row.get(name, 0)) for name in _COUNTS}
    values |= {name: {currency: int(row[name])} if row[name] else {} for name in _MONEY}
    return Sums(**values)


def by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Sums, Sums]]:
    """Name → (now, an hour before), over all currencies."""
    found: dict[str, tuple[Sums, Sums]] = {}
    for row in rows:
        now, before = found.get(row["name"], (Sums(), Sums()))
        sums = read_sums(row)
        found[row["name"]] = (now + sums, before) if row["is_now"] else (now, before + sums)
    return found


def total(named: Mapping[str, tuple[Sums, Sums]]) -> tuple[Sums, Sums]:
    """All of it."""
    now, before = Sums(), Sums()
    for one, other in named.values():
        now, before = now + one, before + other
    return now, before


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}
