"""Numbers: what a peer dialled becomes E.164 digits, or is refused. Nothing is ever repaired.

The order is always the same: the tech prefix is removed (it may identify the peer), the peer's patterns are applied,
`+` or `00` is removed, a national number becomes international by the peer's country. Then 3 to 15 digits, or nothing.

Sources: ITU-T E.164 (at most 15 digits), ITU-T E.123 (`+`), and what wholesale peers send: a tech prefix, `+`, `00`.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tariffs.patterns import Pattern, PatternError, apply

_DIALLED: Final = re.compile(r"\+?[0-9]{3,20}", re.ASCII)
_NUMBER: Final = re.compile(r"\+?[0-9]{1,20}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9 .+_-]{1,32}", re.ASCII)
LEAST_DIGITS: Final = 3
MOST_DIGITS: Final = 15


class NumberError(ValueError):
    """A dialled text that is no number: says which rule it breaks."""


class Country(NamedTuple):
    """How a peer writes numbers of its own country. `code` is empty where all its numbers are international."""

    code: str = ""
    national_prefix: str = ""


_NO_COUNTRY: Final = Country()


def normalise(
    dialled: str, tech_prefix: str = "", patterns: Sequence[Pattern] = (), country: Country = _NO_COUNTRY
) -> str:
    """E.164 digits without plus of a dialled text. Raises NumberError."""
    if not dialled.startswith(tech_prefix):
        raise NumberError(f"dialled number {dialled[:40]!r}: must begin with the tech prefix {tech_prefix}")
    number = dialled[len(tech_prefix) :]
    # Patterns may make a number of what is none; without them it must look like one from the start.
    if not patterns and (_NUMBER if tech_prefix else _DIALLED).fullmatch(number) is None:
        least, behind = (1, " behind the tech prefix") if tech_prefix else (LEAST_DIGITS, "")
        rule = f"must be {least} to 20 digits, with an optional plus before them"
        raise NumberError(f"dialled number {dialled[:40]!r}: {rule}{behind}")
    if patterns:
        try:
            number = apply(patterns, number)
        except PatternError as error:
            raise NumberError(f"dialled number {dialled[:40]!r}: {error}") from error
        if _NUMBER.fullmatch(number) is None:
            raise NumberError(f"dialled number {dialled[:40]!r}: is {number!r} after the patterns, must be digits")
    number = international(number, country)
    if not LEAST_DIGITS <= len(number) <= MOST_DIGITS:
        raise NumberError(f"dialled number {dialled[:40]!r}: {len(number)} digits after its prefixes, must be 3 to 15")
    return number


def international(number: str, country: Country = _NO_COUNTRY) -> str:
    """Digits without `+` or `00`; a national number with its country's code before it.

    With a country, a number without `+` or `00` is national if it begins with the national prefix; where the country
    has none (an empty one), every such number is.
    """
    if number.startswith("+"):
        return number[1:]
    if number.startswith("00"):
        return number[2:]
    if country.code and number.startswith(country.national_prefix):
        return country.code + number[len(country.national_prefix) :]
    return number


def is_plain(number: str) -> bool:
    """Whether a text is digits with nothing to remove, and not more than E.164 has: the usual one, told quickly."""
    return number.isdigit() and number.isascii() and len(number) <= MOST_DIGITS and not number.startswith("00")


def caller_number(caller: str, patterns: Sequence[Pattern] = (), country: Country = _NO_COUNTRY) -> str:
    """The digits of a caller's number after the peer's patterns, or nothing: a caller id is text from the wire.

    It may be a short one of up to 20 digits: nobody is billed by it, and no call is refused for it.
    """
    try:
        number = apply(patterns, caller) if patterns else caller
    except PatternError:
        return ""
    if _NUMBER.fullmatch(number) is None:
        return ""
    digits = international(number, country)
    return digits if len(digits) <= 20 else ""


def caller_name(name: str, patterns: Sequence[Pattern] = ()) -> str:
    """A display name after the peer's patterns if it may be passed on, or nothing: letters, digits, . + _ - only.

    No quotes, commas or anything else that means something to SIP or a dialplan.
    """
    try:
        name = apply(patterns, name).strip(" ")
    except PatternError:
        return ""
    return name if _NAME.fullmatch(name) is not None else ""


def is_sendable(number: str) -> bool:
    """Whether a number may be sent to a peer: up to 20 digits, with an optional plus before them."""
    return _NUMBER.fullmatch(number) is not None
