"""What a page says in its first line: what matters, worst first, in words. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from dashboards.kit import formats
from dashboards.kit.figures import MIN_SAMPLE, Figure, Kind, Sums, lost_calls, state_of
from dashboards.kit.shared import Word

MOST_NAMED: Final = 3
_JUDGED: Final[tuple[tuple[str, Kind], ...]] = (("vendor", "legs"), ("destination", "calls"), ("customer", "calls"))
Named = Mapping[str, Mapping[str, tuple[Sums, Sums]]]


def summary(named: Named, now: Sums, before: Sums) -> list[Word]:
    """The worst few of what fell against an hour ago, or that nothing did, or that there is nothing to judge."""
    if not now.calls and not now.refused:
        return [Word("few", "No call has ended in this window: nothing to judge yet.")]
    troubles = sorted(_troubles(named), key=lambda trouble: -trouble[0])
    if troubles:
        more = len(troubles) - MOST_NAMED
        return [word for _, word in troubles[:MOST_NAMED]] + ([Word("amber", f"and {more} more")] if more > 0 else [])
    figure = now.figure("calls")
    asr = formats.ratio(figure.answered, figure.attempts)
    if before.calls < MIN_SAMPLE:
        return [Word("normal", f"ASR {asr} of {figure.attempts:,} calls. Nothing of an hour ago to compare with yet.")]
    return [Word("normal", f"Nothing stands out: ASR {asr} of {figure.attempts:,} calls, nothing fell.")]


def _troubles(named: Named) -> Iterator[tuple[float, Word]]:
    for dimension, kind in _JUDGED:
        for name, (one, other) in named[dimension].items():
            figure, was = one.figure(kind), other.figure(kind)
            state = state_of(figure, was)
            if not name or state not in ("amber", "red"):
                continue
            yield lost_calls(figure, was), Word(state, f"{name}: {_trouble(figure, was, kind)}")


def _trouble(now: Figure, before: Figure, kind: Kind) -> str:
    if now.asr_percent is None:
        return f"no {kind} at all, {before.attempts:,} an hour ago"
    asr = f"ASR {now.asr_percent:.1f} % of {now.attempts:,}"
    if before.attempts < MIN_SAMPLE or before.asr_percent is None:
        return f"{asr} {kind}"
    return f"{asr}, ▼ {before.asr_percent - now.asr_percent:.0f} points in 1 h"
