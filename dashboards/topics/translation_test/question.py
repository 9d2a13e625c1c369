"""The question of the page that tries patterns: from its form, from an address, and back into one. Pure."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, urlencode

from router.check import TrialQuestion, TrialRule
from router.check.question import MOST_CHARACTERS
from router.check.trial import FIELDS, MOST_EXAMPLES
from router.core.trial import Direction, Field
from tariffs.patterns import MOST_PATTERN_CHARACTERS, MOST_PATTERNS, MOST_REPLACEMENT_CHARACTERS

PATH: Final = "/try-translation"
_LONGEST_NAME: Final = 64
_LONGEST_ADDRESS: Final = 4_000  # of what is behind the path: a request's first line has its bound


class Asked(NamedTuple):
    """What the form says, bounded: texts of a browser, not yet judged. More than are allowed stay more."""

    peer: str
    field: Field
    direction: Direction
    rules: tuple[TrialRule, ...]
    numbers: tuple[str, ...]

    @classmethod
    def of(
        cls,
        peer: Any,
        field: Any,
        direction: Any,
        patterns: Sequence[Any],
        replacements: Sequence[Any],
        numbers: Any,
        *,
        keep_empty: bool = False,
    ) -> Self:
        """From the form's values, of whatever types. Empty rules at the end are none, nor are empty lines numbers."""
        rules = [
            TrialRule(_text(pattern, MOST_PATTERN_CHARACTERS), _text(replacement, MOST_REPLACEMENT_CHARACTERS))
            for pattern, replacement in zip(patterns, replacements, strict=False)
        ][: MOST_PATTERNS + 1]
        while rules and rules[-1] == TrialRule("") and not keep_empty:
            rules.pop()
        lines = [line.strip() for line in str(numbers or "").splitlines()] if isinstance(numbers, str) else []
        return cls(
            _text(peer, _LONGEST_NAME - 1).strip(),
            next((one for one in FIELDS if one == field), FIELDS[0]),
            "out" if direction == "out" else "in",
            tuple(rules),
            tuple(line[: MOST_CHARACTERS + 1] for line in lines if line)[: MOST_EXAMPLES + 1],
        )

    @property
    def question(self) -> TrialQuestion:
        """As it is judged."""
        return TrialQuestion(self.peer, self.direction, self.field, self.rules, self.numbers)


def search_of(asked: Asked) -> str:
    """The address's query; without the rules, then without the numbers, where it would be too long."""
    whose = [("peer", asked.peer), ("field", asked.field), ("direction", asked.direction)]
    numbers = [("number", number) for number in asked.numbers]
    rules = [pair for rule in asked.rules for pair in (("pattern", rule.pattern), ("replacement", rule.replacement))]
    for pairs in (whose + rules + numbers, whose + numbers, whose):
        search = "?" + urlencode(pairs)
        if len(search) <= _LONGEST_ADDRESS:
            return search
    return ""


def read_asked(search: str | None) -> Asked:
    """The question that an address holds."""
    most = 3 + 2 * MOST_PATTERNS + MOST_EXAMPLES
    try:
        found = parse_qs((search or "").removeprefix("?"), keep_blank_values=True, max_num_fields=most)
    except ValueError:
        found = {}

    def one(name: str) -> str:
        return found.get(name, [""])[-1]

    return Asked.of(
        one("peer"), one("field"), one("direction"), found.get("pattern", []), found.get("replacement", []),
        "\n".join(found.get("number", [])),
    )  # fmt: skip


def link(peer: str, direction: Direction, field: Field, number: str) -> str:
    """The address that tries a peer's saved rules on a number."""
    return PATH + search_of(Asked.of(peer, field, direction, (), (), number))


def _text(value: Any, longest: int) -> str:
    """One more than is allowed stays: that it is too long is said, not hidden."""
    return value[: longest + 1] if isinstance(value, str) else ""
