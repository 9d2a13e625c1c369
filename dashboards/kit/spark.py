"""Sparklines as small pictures in a data URI: no script, no request. Pure."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

WIDTH: Final = 160
HEIGHT: Final = 34
_PAD: Final = 3.0


def spark(values: Sequence[float | None], colour: str = "#8d99ae") -> str:
    """The URI of a line over `values`, oldest first; a gap where there is none, a dot at the newest."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return _picture("")
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    step = (WIDTH - 2 * _PAD) / max(1, len(values) - 1)
    points = [
        None if value is None else (_PAD + at * step, HEIGHT - _PAD - (value - low) / span * (HEIGHT - 2 * _PAD))
        for at, value in enumerate(values)
    ]
    parts, drawing = [], False
    for point in points:
        if point is None:
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{point[0]:.1f} {point[1]:.1f}")
        drawing = True
    last = next(point for point in reversed(points) if point is not None)
    return _picture(
        f'<path d="{"".join(parts)}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>'
        f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="2.4" fill="{colour}"/>'
    )


def _picture(inside: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{inside}</svg>'
    )
    return "data:image/svg+xml," + quote(svg)
