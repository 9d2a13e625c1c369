"""Release tables as a world file says them: what the end of a leg means for the hunt and for the caller."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from configuration.entities.parts import Name, Part, Whole, as_text
from schemas.release import MAX_RULES, RANGES, Kind


class ReleaseRule(Part):
    """What the end of a leg means. `of`: a Q.850 cause as `17`, a SIP code as `sip 404`, `no answer`, `no progress`."""

    of: Annotated[
        str, BeforeValidator(as_text), StringConstraints(pattern=r"^([0-9]{1,3}|sip [0-9]{3}|no (answer|progress))$")
    ]
    action: Literal["continue", "stop"]
    caller_cause: Annotated[Whole, Field(ge=1, le=127)] | None = None

    @property
    def key(self) -> tuple[Kind, int]:
        """(kind, code)."""
        if self.of.startswith("no "):
            return ("no_answer" if self.of == "no answer" else "no_progress"), 0
        return ("sip" if self.of.startswith("sip ") else "cause"), int(self.of.removeprefix("sip "))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        kind, code = self.key
        low, high = RANGES[kind]
        if not low <= code <= high:
            raise ValueError(f"of {self.of!r}: must be {low} to {high}")
        return self


class ReleaseTable(Part):
    """Release rules by name, for terminators (what their codes mean) and originators (what they are told)."""

    name: Name
    rules: Annotated[tuple[ReleaseRule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        twice = sorted(of for of, times in Counter(rule.of for rule in self.rules).items() if times > 1)
        if twice:
            raise ValueError(f"rules: {twice[0]!r} is there twice")
        return self
