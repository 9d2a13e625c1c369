"""Patterns tried on example numbers before they are saved: by the very functions that a call uses. Pure.

Patterns that saving would refuse are refused here, in the same words, all of them at once.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from router.check.question import MOST_CHARACTERS, QuestionError
from router.core.trial import Direction, Field, Trial, try_translations
from tariffs.numbers import Country
from tariffs.patterns import MOST_PATTERNS, Pattern, PatternError, compile_pattern

MOST_EXAMPLES: Final = 50
FIELDS: Final[tuple[Field, ...]] = ("callee", "caller", "caller_name")


class TrialRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pattern of RE2 and what stands in place of what it matches, as they would be saved."""

    pattern: str
    replacement: str = ""


class TrialQuestion(NamedTuple):
    """`peer` is a peer's name, or empty: then there is no tech prefix and no country. `rules` None: those saved of it.

    `direction` None is the peer's own: of an originator `in`, of a terminator `out`; of nobody `in`.
    """

    peer: str
    direction: Direction | None
    field: Field
    rules: tuple[TrialRule, ...] | None
    numbers: tuple[str, ...]


class SavedRules(NamedTuple):
    """What is saved of a peer: its side, prefixes, country, and the rules of each field in their order."""

    peer: str
    direction: Direction
    tech_prefix: str
    country: Country
    rules: dict[Field, tuple[TrialRule, ...]]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each number. `rules`: those that were tried. `saved`: those that are saved of the peer's field."""

    peer: str
    direction: Direction
    field: Field
    tech_prefix: str
    country_code: str
    national_prefix: str
    rules: tuple[TrialRule, ...]
    saved: tuple[TrialRule, ...]
    trials: tuple[Trial, ...]


class RuleError(QuestionError):
    """A rule that may not be saved: its number from 1, and which of its fields breaks which rule."""

    def __init__(self, number: int, error: PatternError) -> None:
        super().__init__(f"rules[{number - 1}].{error.field}", error.value, error.rule)
        self.number = number
        shown = f"'{error.value}'" if error.value.isprintable() else repr(error.value)  # not every backslash twice
        self.args = (f"rule {number}, {error.field} {shown}: {error.rule}",)


class TrialError(ValueError):
    """A question that cannot be tried: all that is wrong with it."""

    def __init__(self, faults: Sequence[QuestionError]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))


def try_rules(question: TrialQuestion, saved: SavedRules | None) -> Tried:
    """What becomes of the numbers; `saved` is what is known of the question's peer. Raises TrialError."""
    faults = _faults(question, saved)
    kept = saved.rules.get(question.field, ()) if saved is not None else ()
    rules, patterns = kept if question.rules is None else question.rules, list[Pattern]()
    for number, rule in enumerate(rules[:MOST_PATTERNS], start=1):
        try:
            patterns.append(compile_pattern(rule.pattern, rule.replacement))
        except PatternError as error:
            faults.append(RuleError(number, error))
    if faults:
        raise TrialError(faults)
    direction = saved.direction if saved is not None else question.direction or "in"
    tech_prefix, country = (saved.tech_prefix, saved.country) if saved is not None else ("", Country())
    return Tried(
        peer=question.peer,
        direction=direction,
        field=question.field,
        tech_prefix=tech_prefix,
        country_code=country.code,
        national_prefix=country.national_prefix,
        rules=rules,
        saved=kept,
        trials=tuple(
            try_translations(direction, question.field, patterns, given, tech_prefix, country)
            for given in question.numbers
        ),
    )


def _faults(question: TrialQuestion, saved: SavedRules | None) -> list[QuestionError]:
    """All but the patterns themselves."""
    found: list[QuestionError] = []
    if question.peer and saved is None:
        found.append(QuestionError("peer", question.peer, "there is no peer of that name"))
    if saved is not None and question.direction not in (None, saved.direction):
        side = "an originator" if saved.direction == "in" else "a terminator"
        rule = f"{saved.peer} is {side}: its patterns are {saved.direction}"
        found.append(QuestionError("direction", str(question.direction), rule))
    if question.rules is not None and len(question.rules) > MOST_PATTERNS:
        found.append(QuestionError("rules", f"{len(question.rules)} rules", f"must be {MOST_PATTERNS} at most"))
    if not 1 <= len(question.numbers) <= MOST_EXAMPLES:
        rule = f"must be 1 to {MOST_EXAMPLES} numbers or names to try"
        found.append(QuestionError("numbers", f"{len(question.numbers)} numbers", rule))
    for at, given in enumerate(question.numbers[:MOST_EXAMPLES]):
        if len(given) > MOST_CHARACTERS:
            found.append(QuestionError(f"numbers[{at}]", given, f"must have at most {MOST_CHARACTERS} characters"))
    return found
