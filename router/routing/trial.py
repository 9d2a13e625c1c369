"""What a peer's patterns do to a number, step by step, for people who try them before they are saved. Pure."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from tariffs.numbers import Country, NumberError, caller_name, caller_number, international, is_sendable, normalise
from tariffs.patterns import Pattern, PatternError, apply

Direction = Literal["in", "out"]
Field = Literal["caller", "caller_name", "callee"]


class Step(msgspec.Struct, frozen=True):
    """One step of the order in definitions: what it is called, and the text before and after it."""

    step: str
    before: str
    after: str


class Trial(msgspec.Struct, frozen=True):
    """The steps and the end: `result` is what would be billed (in) or sent (out); `refused` says why it is nothing."""

    direction: Direction
    field: Field
    given: str
    steps: tuple[Step, ...]
    result: str
    refused: str


def try_translations(
    direction: Direction,
    field: Field,
    patterns: Sequence[Pattern],
    given: str,
    tech_prefix: str = "",
    country: Country = Country(),  # noqa: B008 a value
) -> Trial:
    """Do to `given` what a call would have done to it. Raises nothing: what is refused says so."""
    steps: list[Step] = []
    text = given

    def take(name: str, change: Callable[[str], str]) -> None:
        nonlocal text
        after = change(text)
        steps.append(Step(name, text, after))
        text = after

    dialled = direction == "in" and field == "callee"
    try:
        if dialled and tech_prefix:
            take(f"tech prefix {tech_prefix}", lambda value: value.removeprefix(tech_prefix))
        for pattern in patterns:
            take(f"{pattern.pattern} → {pattern.replacement}", lambda value, one=pattern: apply((one,), value))  # type: ignore[misc]
        if direction == "in" and field != "caller_name":
            take("international", lambda value: international(value, country))
        result = _end(direction, field, patterns, given, tech_prefix, country)
    except (NumberError, PatternError) as error:
        return Trial(direction, field, given, tuple(steps), "", str(error))
    refused = "" if result or field != "callee" else "nothing is left"
    if not result and field != "callee":
        refused = "nothing that may be passed on is left: as if there were none"
    return Trial(direction, field, given, tuple(steps), result, refused)


def _end(
    direction: Direction, field: Field, patterns: Sequence[Pattern], given: str, tech_prefix: str, country: Country
) -> str:
    """By the very functions that a call uses."""
    if field == "caller_name":
        return caller_name(given, patterns)
    if direction == "out":
        sent = apply(patterns, given)
        if sent and not is_sendable(sent):
            raise NumberError(f"{sent!r}: must be up to 20 digits after the patterns")
        return (tech_prefix if field == "callee" else "") + sent
    return (
        caller_number(given, patterns, country)
        if field == "caller"
        else normalise(given, tech_prefix, patterns, country)
    )
