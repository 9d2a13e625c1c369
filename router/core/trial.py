"""What a peer's patterns do to a number, step by step, for people who try them before they are saved. Pure."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from router.core.numbers import callee_to_send, caller_to_send
from tariffs.numbers import Country, NumberError, caller_name, caller_number, international, normalise
from tariffs.patterns import Pattern, PatternError, apply

Direction = Literal["in", "out"]
Field = Literal["caller", "caller_name", "callee"]
Consequence = Literal[
    "",  # it is billed or sent
    "BAD NUMBER",  # the call is refused
    "BAD TRANSLATION",  # the terminator is passed over
    "NONE",  # the call goes on without a caller's number or name
]


class Step(msgspec.Struct, frozen=True):
    """One step of the order in definitions: what it is called, and the text before and after it."""

    step: str
    before: str
    after: str


class Trial(msgspec.Struct, frozen=True):
    """The steps and the end: `result` is what would be billed (in) or sent (out); `refused` says why it is nothing.

    `consequence` is what that is for a call.
    """

    direction: Direction
    field: Field
    given: str
    steps: tuple[Step, ...]
    result: str
    refused: str
    consequence: Consequence


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
        if direction == "out" and field == "callee" and tech_prefix:
            take(f"tech prefix {tech_prefix} before it", lambda value: tech_prefix + value)
        result = _end(direction, field, patterns, given, tech_prefix, country)
    except (NumberError, PatternError) as error:
        return Trial(direction, field, given, tuple(steps), "", str(error), _consequence(direction, field, wrong=True))
    if result:
        return Trial(direction, field, given, tuple(steps), result, "", "")
    refused = "nothing is left" if field == "callee" else "nothing that may be passed on is left: as if there were none"
    return Trial(direction, field, given, tuple(steps), "", refused, _consequence(direction, field, wrong=False))


def _consequence(direction: Direction, field: Field, *, wrong: bool) -> Consequence:
    """Of an end without a result. A caller's number stops a call nowhere but on its way out, where it is `wrong`."""
    if field == "callee":
        return "BAD NUMBER" if direction == "in" else "BAD TRANSLATION"
    return "BAD TRANSLATION" if wrong and (direction, field) == ("out", "caller") else "NONE"


def _end(
    direction: Direction, field: Field, patterns: Sequence[Pattern], given: str, tech_prefix: str, country: Country
) -> str:
    """By the very functions that a call uses."""
    if field == "caller_name":
        return caller_name(given, patterns)
    if direction == "out":
        if field == "caller":
            return caller_to_send(patterns, given)
        return tech_prefix + callee_to_send(patterns, given, tech_prefix)
    return (
        caller_number(given, patterns, country)
        if field == "caller"
        else normalise(given, tech_prefix, patterns, country)
    )
