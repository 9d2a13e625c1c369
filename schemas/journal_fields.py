"""The values of a journal line: text of the dialplan in, numbers out. schemas/journal.py knows the keys."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

MAX_LENGTH_MS: Final = 7 * 86_400_000  # event_base.LengthMs


class JournalError(ValueError):
    """A journal line that is not one of ours: names the field, the value and the rule."""


def integer(pairs: Mapping[str, str], key: str) -> int:
    """A whole number that is not negative. Raises JournalError."""
    value = pairs[key]
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise JournalError(f"{key} {value[:40]!r}: must be a whole number")
    return int(value)


def signed_integer(pairs: Mapping[str, str], key: str) -> int:
    """A difference of wall times: a clock that was set meanwhile makes it anything."""
    minus = pairs[key].startswith("-")
    return -integer({key: pairs[key][1:]}, key) if minus else integer(pairs, key)


def wall_length(pairs: Mapping[str, str], key: str) -> int | None:
    """A length by the wall clock; None: not known, or made senseless by a clock that was set meanwhile."""
    length_ms = signed_integer(pairs, key) if pairs[key] else -1
    return length_ms if 0 <= length_ms <= MAX_LENGTH_MS else None


def milliseconds(pairs: Mapping[str, str], key: str) -> int:
    """Seconds as a decimal, in milliseconds. Raises JournalError."""
    value = pairs[key]
    if value[-4:-3] == "." and len(value) <= 20 and value.isascii():
        digits = value[:-4] + value[-3:]  # seconds with three decimals, as almost always
        if digits.isdigit() and len(value) > 4:
            return int(digits)
    try:
        if not value.isascii() or len(value) > 20 or not value.replace(".", "", 1).isdigit():
            raise InvalidOperation
        return int(Decimal(value) * 1000)
    except InvalidOperation as error:
        raise JournalError(f"{key} {value[:40]!r}: must be seconds as a decimal") from error
