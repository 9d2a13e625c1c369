"""How values are written on every page. Pure. What is not known is a dash, never NaN or nothing."""

from typing import Final

UNKNOWN: Final = "–"
THIN: Final = "\u2009"
_MICROS: Final = 1_000_000


def count(value: int | None) -> str:
    """1,204"""
    return UNKNOWN if value is None else f"{value:,}"


def ratio(part: int, whole: int) -> str:
    """38.2 % of whole; a dash where there is nothing to divide by."""
    return UNKNOWN if whole <= 0 else f"{_rounded(part * 1000, whole) / 10:.1f}{THIN}%"


def percent(part: int, whole: int) -> float | None:
    """The same as a number with one decimal, for grids that sort."""
    return None if whole <= 0 else _rounded(part * 1000, whole) / 10


def duration(seconds: float | None) -> str:
    """m:ss, h:mm:ss above the hour."""
    if seconds is None:
        return UNKNOWN
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def age(seconds: float) -> str:
    """How long ago or for how long: m:ss, from an hour on 3 h 05 min, from two days on 3 d 4 h."""
    whole = max(0, int(seconds))
    if whole < 3_600:
        return duration(whole)
    if whole < 2 * 86_400:
        return f"{whole // 3_600}{THIN}h {whole // 60 % 60:02d}{THIN}min"
    return f"{whole // 86_400}{THIN}d {whole // 3_600 % 24}{THIN}h"


def seconds(milliseconds: float | None) -> str:
    """2.1 s"""
    return UNKNOWN if milliseconds is None else f"{milliseconds / 1000:.1f}{THIN}s"


def money(micros: int | None, currency: str = "", decimals: int = 2) -> str:
    """1,234.56 USD, rounded half away from zero by whole-number arithmetic."""
    if micros is None:
        return UNKNOWN
    scale: int = 10**decimals
    units = _rounded(abs(micros) * scale, _MICROS)
    sign = "−" if micros < 0 and units else ""
    whole, rest = divmod(units, scale)
    text = f"{sign}{whole:,}.{rest:0{decimals}d}" if decimals else f"{sign}{whole:,}"
    return f"{text}{THIN}{currency}" if currency else text


def price(price_e8: int | None) -> str:
    """A price per minute, exact: six decimals, or the eight that it may have."""
    if price_e8 is None:
        return UNKNOWN
    whole, rest = divmod(abs(price_e8), 10**8)
    decimals = f"{rest:08d}"
    return f"{'−' if price_e8 < 0 else ''}{whole}.{decimals.removesuffix('0').removesuffix('0')}"


def talk(milliseconds: int) -> str:
    """A talk to the tenth of a second below a minute, m:ss above."""
    return seconds(milliseconds) if milliseconds < 60_000 else duration(milliseconds / 1000)


def per_minute(price_e8: int | None) -> str:
    """What is worked out per minute, with six decimals, so that a column stands in line."""
    return UNKNOWN if price_e8 is None else money(_rounded(abs(price_e8), 100) * (-1 if price_e8 < 0 else 1), "", 6)


def per_second(events: int, over_seconds: float) -> str:
    """4.2"""
    return UNKNOWN if over_seconds <= 0 else f"{events / over_seconds:.1f}"


def change(now: float | None, before: float | None, *, unit: str = "", decimals: int = 1) -> str:
    """▲ 2.1 or ▼ 0.4 against what was; nothing where there is no comparison."""
    if now is None or before is None:
        return "no comparison yet"
    moved = round(now - before, decimals)
    if moved == 0:
        return f"= {unit}".strip() if unit else "unchanged"
    mark = "▲" if moved > 0 else "▼"
    return f"{mark}{THIN}{abs(moved):,.{decimals}f}{unit}"


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
