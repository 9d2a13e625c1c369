"""What a world's file says of numbers: patterns and trust of a peer, blocks of a peer or of all calls.

translations: {callee: [{pattern: '^011', replacement: '+'}], caller: [{pattern: '^0', replacement: '49'}]}
blocks:
  - {callee: 4479, reason: revenue share}
  - {zone: {country: CU}}
  - {callee_pool: fraud numbers, until: '2027-01-01T00:00:00Z'}
  - {callee: 44799, action: allow}      # an exception from the first
allow_only: [caller]                    # of callers nothing passes but what a rule allows
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from configuration.entities.parts import Country, Name, Part
from configuration.entities.parts import as_text as text_of
from tariffs.patterns import MOST_PATTERNS, PatternError, compile_pattern

MOST_BLOCKS = 100_000
Text = Annotated[str, BeforeValidator(text_of)]
Prefix = Annotated[str, BeforeValidator(text_of), StringConstraints(pattern=r"^[0-9]{0,15}$")]
CountryCode = Annotated[str, BeforeValidator(text_of), StringConstraints(pattern=r"^([1-9][0-9]{0,2})?$")]
NationalPrefix = Annotated[str, BeforeValidator(text_of), StringConstraints(pattern=r"^[0-9]{0,4}$")]
Reason = Annotated[str, BeforeValidator(text_of), StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,120}$")]


def _moment(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError("must be an ISO moment, as 2026-12-01T00:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]


class Translation(Part):
    """One pattern: RE2 must accept it."""

    pattern: Text
    replacement: Text = ""

    @model_validator(mode="after")
    def _accepted(self) -> Self:
        try:
            compile_pattern(self.pattern, self.replacement)
        except PatternError as error:
            raise ValueError(str(error)) from error
        return self


Patterns = Annotated[tuple[Translation, ...], Field(max_length=MOST_PATTERNS)]


class Translations(Part):
    """All patterns of a peer, in order."""

    caller: Patterns = ()
    caller_name: Patterns = ()
    callee: Patterns = ()


class Zone(Part):
    """Destinations by country, name and kind: all that are given must fit."""

    country: Country | None = None
    name: Name | None = None
    kind: Literal["fixed", "mobile", "premium", "emergency", "short", "satellite", "other"] | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.country is None and self.name is None and self.kind is None:
            raise ValueError("name None: a zone needs a country, a name or a kind")
        return self


class Block(Part):
    """One rule; exactly one of the first five says of which kind it is. An empty prefix is every number."""

    callee: Prefix | None = None
    caller: Prefix | None = None
    zone: Zone | None = None
    callee_pool: Name | None = None
    caller_pool: Name | None = None
    action: Literal["deny", "allow"] = "deny"
    reason: Reason = ""
    enabled: bool = True
    valid_from: Annotated[Moment | None, Field(alias="from")] = None
    valid_until: Annotated[Moment | None, Field(alias="until")] = None

    @property
    def kind(self) -> str:
        """Which of the five."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def prefix(self) -> str | None:
        """The prefix, of a rule for prefixes."""
        return self.callee if self.callee is not None else self.caller

    @property
    def value(self) -> str:
        """What it is about, for people."""
        zone = [part for part in (self.zone.country, self.zone.name, self.zone.kind) if part] if self.zone else []
        return self.prefix if self.prefix is not None else self.pool or " ".join(zone)

    @property
    def pool(self) -> str | None:
        """The pool that it names."""
        return self.callee_pool if self.callee_pool is not None else self.caller_pool

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"callee: a block has exactly one of {', '.join(KINDS)}; this has {kinds or 'none'}")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise ValueError(f"until {self.valid_until}: must be after {self.valid_from}")
        return self


def _once(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(kinds)) != len(kinds):
        raise ValueError("one of them is there twice")
    return kinds


KINDS = ("callee", "zone", "caller", "callee_pool", "caller_pool")
Blocks = Annotated[tuple[Block, ...], Field(max_length=MOST_BLOCKS)]
Kind = Literal["callee", "zone", "caller", "callee_pool", "caller_pool"]
AllowOnly = Annotated[tuple[Kind, ...], AfterValidator(_once)]


class PeerNumbers(Part):
    """What a peer's model has of numbers. `translations`, `blocks` and `allow_only` left out: they stay as they are in
    the database; given, they are the whole list.
    """

    country_code: CountryCode = ""
    national_prefix: NationalPrefix = ""
    trusted: bool = False
    pass_diversion: bool = False
    anonymous: Literal["allow", "refuse"] = "allow"
    translations: Translations | None = None
    blocks: Blocks | None = None
    allow_only: AllowOnly | None = None

    @model_validator(mode="after")
    def _country(self) -> Self:
        if self.national_prefix and not self.country_code:
            raise ValueError(f"national_prefix {self.national_prefix!r}: needs a country_code")
        return self
