"""Numbers: what a peer dialled becomes E.164 digits, or is refused. Nothing is ever repaired.

Sources: ITU-T E.164 (at most 15 digits), ITU-T E.123 (`+`), and what wholesale peers send: a tech prefix, `+`, `00`.
"""

import re
from typing import Final

_DIALLED: Final = re.compile(r"\+?[0-9]{3,20}", re.ASCII)
_CALLER: Final = re.compile(r"\+?([0-9]{1,20})", re.ASCII)
LEAST_DIGITS: Final = 3
MOST_DIGITS: Final = 15


class NumberError(ValueError):
    """A dialled text that is no number: says which rule it breaks."""


def normalise(dialled: str, tech_prefix: str = "") -> str:
    """E.164 digits without plus of a dialled text. The tech prefix goes first, then `+` or `00`. Raises NumberError."""
    if _DIALLED.fullmatch(dialled) is None:
        raise NumberError(f"dialled number {dialled[:40]!r}: must be 3 to 20 digits, with an optional plus before them")
    number = dialled
    if tech_prefix:
        if not number.startswith(tech_prefix):
            raise NumberError(f"dialled number {dialled!r}: must begin with the tech prefix {tech_prefix}")
        number = number[len(tech_prefix) :]
    if number.startswith("+"):
        number = number[1:]
    elif number.startswith("00"):
        number = number[2:]
    if not LEAST_DIGITS <= len(number) <= MOST_DIGITS:
        raise NumberError(f"dialled number {dialled!r}: {len(number)} digits after its prefixes, must be 3 to 15")
    return number


def caller_digits(caller: str) -> str:
    """The digits of a caller's number, or nothing: a caller id is text from the wire, for display only."""
    match = _CALLER.fullmatch(caller)
    return match[1] if match else ""
