"""FACTS: everything that rating one leg needs, carried by the channel variable of that leg.

The router writes one such record for the caller's leg and one per route into channel variables; the dialplan copies it
into the line that closes the leg; rating needs no join, no state and no router. The text is positional, separated by
`;`, every field restricted to characters that neither AGI, nor the dialplan, nor CSV has to escape.
"""

import re
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec

FACTS_VERSION: Final = 1
UNIDENTIFIED_ACCOUNT_ID: Final = (
    1  # the system account of legs that no account is known for; made by the first migration
)

Side = Literal["receivable", "payable"]  # receivable: a customer owes us; payable: we owe a vendor
DurationRounding = Literal["up", "nearest", "none"]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
RowId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]  # of a table whose key is PostgreSQL's int
Seconds = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
# Their shape is judged by check_facts and events.check_event: a `pattern` here runs Python's re for each field, which
# took two thirds of the time of reading an event.
Digits = Annotated[str, msgspec.Meta(max_length=20)]
CurrencyCode = Annotated[str, msgspec.Meta(min_length=3, max_length=3)]


class FactsError(ValueError):
    """A FACTS text that cannot be read: names the field, the value and the rule."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The rate terms and identities of one leg, both sides known by id.

    `side` says whose account the leg goes to: receivable (inbound leg, the customer's) or payable (outbound, the
    vendor's). Vendor ids are 0 on an inbound leg. A refused call has zero terms and whatever ids are known (0: none;
    account UNIDENTIFIED_ACCOUNT_ID where no account is known). `price_e8` is per minute, in 10⁻⁸ of the currency.
    """

    side: Side
    generation: Id  # of the configuration snapshot that decided
    customer_company_id: RowId
    customer_peer_id: RowId
    vendor_company_id: RowId
    vendor_peer_id: RowId
    account_id: RowId
    currency: CurrencyCode
    code: Digits  # the code matched in this side's own deck
    price_id: Id  # row of the prices table
    destination_id: RowId
    price_e8: Annotated[int, msgspec.Meta(ge=0, le=10**13 - 1)]
    connect_fee_micros: Annotated[int, msgspec.Meta(ge=0, le=10**15)]
    minimum_seconds: Seconds
    increment_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    free_seconds: Seconds
    rounding_decimals: Annotated[int, msgspec.Meta(ge=0, le=6)]
    duration_rounding: DurationRounding
    caller: Digits  # as billed; empty when unknown or withheld
    callee: Digits  # E.164 without plus, as billed on this side


def check_facts(facts: Facts) -> None:
    """What the types do not say: digits are digits, a currency is three capitals. Raises FactsError."""
    if not are_digits(facts.code + facts.caller + facts.callee):
        name = next(name for name in ("code", "caller", "callee") if not are_digits(getattr(facts, name)))
        raise FactsError(f"facts {name} {getattr(facts, name)!r}: must be digits")
    if not is_currency(facts.currency):
        raise FactsError(f"facts currency {facts.currency!r}: must be three capital letters")


def are_digits(text: str) -> bool:
    """ASCII digits only, or nothing."""
    return not text or (text.isascii() and text.isdigit())


def is_currency(text: str) -> bool:
    """Three ASCII capitals."""
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


_FIELDS: Final = Facts.__struct_fields__
_INTEGERS: Final = frozenset(
    name for name in _FIELDS if name not in ("side", "currency", "code", "duration_rounding", "caller", "callee")
)
_SIDE_LETTER: Final = {"receivable": "r", "payable": "p"}
_SIDE_OF: Final = {letter: side for side, letter in _SIDE_LETTER.items()}
ROUNDING_LETTER: Final = {"up": "u", "nearest": "n", "none": "t"}  # t: truncated
_ROUNDING_OF: Final = {letter: name for name, letter in ROUNDING_LETTER.items()}
_SHAPES: Final = {
    "side": ("([rp])", '"%s"'),
    "currency": ("([A-Z]{3})", '"%s"'),
    "duration_rounding": ("([unt])", '"%s"'),
    **dict.fromkeys(("code", "caller", "callee"), ("([0-9]{0,20})", '"%s"')),
}
_WHOLE_NUMBER: Final = ("(0|[1-9][0-9]{0,15})", "%s")
# The usual text in one look; as JSON it is then read, and its numbers judged, by msgspec.
_USUAL: Final = re.compile(
    ";".join([str(FACTS_VERSION), *(_SHAPES.get(name, _WHOLE_NUMBER)[0] for name in _FIELDS)]), re.ASCII
)
_JSON: Final = "{" + ",".join(f'"{name}":{_SHAPES.get(name, _WHOLE_NUMBER)[1]}' for name in _FIELDS) + "}"
_JSON_ROUNDING_AT: Final = _FIELDS.index("duration_rounding")
_decoder: Final = msgspec.json.Decoder(Facts)


def encode_facts(facts: Facts) -> str:
    """The text for the channel variable: `1;r;17;…`, about 120 characters, `[0-9A-Za-z;]` only."""
    # One formatted string, since a router makes nine of these for each call; the fields' order is Facts' own.
    return (
        f"{FACTS_VERSION};{_SIDE_LETTER[facts.side]};{facts.generation};{facts.customer_company_id};"
        f"{facts.customer_peer_id};{facts.vendor_company_id};{facts.vendor_peer_id};{facts.account_id};"
        f"{facts.currency};{facts.code};{facts.price_id};{facts.destination_id};{facts.price_e8};"
        f"{facts.connect_fee_micros};{facts.minimum_seconds};{facts.increment_seconds};{facts.free_seconds};"
        f"{facts.rounding_decimals};{ROUNDING_LETTER[facts.duration_rounding]};{facts.caller};{facts.callee}"
    )


@lru_cache(maxsize=4096)  # the lines of a call repeat its facts: three of five are known already
def decode_facts(text: str) -> Facts:
    """The record of a FACTS text. Raises FactsError: unknown version, wrong number of fields, bad value."""
    matched = _USUAL.fullmatch(text)
    if matched is not None:
        values = list(matched.groups())
        values[0] = _SIDE_OF[values[0]]
        values[_JSON_ROUNDING_AT] = _ROUNDING_OF[values[_JSON_ROUNDING_AT]]
        try:
            return _decoder.decode(_JSON % tuple(values))
        except msgspec.ValidationError as error:
            raise FactsError(f"facts: {error}") from error
    return _decode_at_length(text)


def _decode_at_length(text: str) -> Facts:
    """Any text, field by field, so that what is wrong is named."""
    version, *values = text.split(";")
    if version != str(FACTS_VERSION):
        raise FactsError(f"facts version {version[:20]!r}: this program reads version {FACTS_VERSION}")
    if len(values) != len(_FIELDS):
        raise FactsError(f"facts has {len(values)} fields: version {FACTS_VERSION} has {len(_FIELDS)}")
    raw: dict[str, object] = {}
    for name, value in zip(_FIELDS, values, strict=True):
        if name in _INTEGERS:
            if not (value.isascii() and value.isdigit() and len(value) <= 16):
                raise FactsError(f"facts {name} {value[:20]!r}: must be a whole number")
            raw[name] = int(value)
        elif name == "side":
            raw[name] = _SIDE_OF.get(value, value)
        elif name == "duration_rounding":
            raw[name] = _ROUNDING_OF.get(value, value)
        else:
            raw[name] = value
    try:
        facts = msgspec.convert(raw, Facts)
    except msgspec.ValidationError as error:
        raise FactsError(f"facts: {error}") from error
    check_facts(facts)
    return facts
