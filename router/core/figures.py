"""Quality as an order compares it: a figure with its sample, or why there is none, and the target's wanted value. Pure.

A figure counts while it is fresh and its sample is large enough. Where it does not, the vendor is taken to have the
order's assumed value (`asr else 45`, or an ordinary one): one fixed place, which no other vendor moves, neither best
nor last, so that a new vendor gets calls and with them a sample.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from router.snapshot.config import HuntingClass, Peer
from schemas.quality import Quality
from tariffs.order import PPM, UNITS, Metric

_MOST_ACD_MS: Final = 3_600_000
_LOWER_IS_BETTER: Final = frozenset(("pdd", "target"))


class Figure(NamedTuple):
    """A figure in core units (ratios ppm, times ms) and its sample; `neutral` says why it is None."""

    value: int | None
    sample: int
    neutral: str = ""
    until_ms: int | None = None  # when it will be stale


NOTHING: Final = Figure(None, 0, "no sample")


class Rules(NamedTuple):
    """From when on a figure counts."""

    minimum_sample: int
    max_age_ms: int


def rules_of(hunting: HuntingClass) -> Rules:
    """The rules of a hunting class."""
    return Rules(hunting.minimum_sample, hunting.quality_max_age_seconds * 1000)


def figure_of(quality: Quality | None, name: str, now_ms: int, rules: Rules) -> Figure:
    """The figure `asr`, `acd`, `ner` or `pdd` of some sums at `now_ms`."""
    if quality is None:
        return NOTHING
    whole, sample = _sums(quality, name)
    if now_ms - quality.at_ms > rules.max_age_ms:
        return Figure(None, sample, "stale")
    until_ms = quality.at_ms + rules.max_age_ms + 1
    if sample < rules.minimum_sample:
        return Figure(None, sample, "small sample" if sample else "no sample", until_ms)
    return Figure(whole // sample, sample, "", until_ms)


def _sums(quality: Quality, name: str) -> tuple[int, int]:
    if name == "asr":
        return quality.answered * 100 * PPM, quality.attempts
    if name == "ner":
        return quality.effective * 100 * PPM, quality.effective_of
    if name == "acd":
        return quality.talk_ms, quality.answered
    return quality.pdd_ms, quality.pdd_legs


class Target(NamedTuple):
    """What a customer's calls are steered to: a figure, the value wanted of the vendor, and the customer's own."""

    figure: str
    wanted: int | None  # None: his own figure has no sample, so the next metric decides
    own: Figure


def target_of(peer: Peer, quality: Mapping[str, Quality], now_ms: int, rules: Rules) -> Target | None:
    """The target of a customer, by his own live figure c and the value t that is set: t + (t - c), within its range.

    A customer below his target is given vendors above it by as much as he lacks, one above it vendors below.
    """
    if not peer.target_metric:
        return None
    figure = peer.target_metric
    own = figure_of(quality.get(f"customer/{peer.peer_id}/"), figure, now_ms, rules)
    if own.value is None:
        return Target(figure, None, own)
    set_to = peer.target_value_e2 * UNITS[figure] // 100
    most = _MOST_ACD_MS if figure == "acd" else 100 * PPM
    return Target(figure, min(most, max(0, 2 * set_to - own.value)), own)


def vendor_key(peer_id: int, *, by_code: bool = False) -> str:
    """Where a vendor's sums lie in World.quality; by code, the beginning of it: the code as bought comes behind."""
    return f"vendor_code/{peer_id}/" if by_code else f"vendor/{peer_id}/"


def rank_of(metric: Metric, figure: Figure, target: Target | None) -> int:
    """Where a figure stands among others by a metric, in steps: less is tried first."""
    if metric.name == "target":
        if target is None or target.wanted is None:
            return 0
        name = target.figure
        value = figure.value if figure.value is not None else metric.assumed(name)
        return rounded(abs(value - target.wanted), metric.step(UNITS[name]))
    value = figure.value if figure.value is not None else metric.assumed(metric.figure)
    place = rounded(value, metric.step(UNITS[metric.name]))
    return place if metric.figure in _LOWER_IS_BETTER else -place


def rounded(value: int, step: int) -> int:
    """The number of steps nearest to a value; half of one goes up."""
    return (2 * value + step) // (2 * step)
