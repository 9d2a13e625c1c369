"""Who a caller says he is: P-Asserted-Identity of trusted peers, else From; and whether he wants to be shown. Pure.

Sources: RFC 3325 (P-Asserted-Identity, Privacy: id), RFC 3323 (anonymous From, Privacy).
"""

import re
from typing import Final, NamedTuple

_ASSERTED: Final = re.compile(r"(?:\A|[<\s,])(?:sips?|tel):([^@;>,?\s]{1,64})", re.ASCII | re.IGNORECASE)
_NAME: Final = re.compile(r'\s*(?:"([^"\\]{0,64})"|([^"<>:,]{0,64}?))\s*<', re.ASCII)
_HIDDEN: Final = frozenset(("id", "user", "header", "full"))
_ANONYMOUS: Final = frozenset(("", "anonymous", "restricted", "unavailable", "unknown", "private"))


class Said(NamedTuple):
    """What the INVITE says: texts from the wire. `withheld`: the caller does not want to be shown."""

    number: str
    name: str
    withheld: bool


def is_anonymous(number: str) -> bool:
    """Whether From's user part names nobody."""
    return number.lower() in _ANONYMOUS


def who_calls(number: str, name: str, asserted: str, privacy: str, *, trusted: bool) -> Said:
    """`number` and `name` are From's; `asserted` and `privacy` are headers, or empty. Only a trusted peer asserts."""
    hidden = is_anonymous(number) or bool(
        privacy and _HIDDEN.intersection(word.strip().lower() for word in privacy.split(";"))
    )
    found = _ASSERTED.search(asserted) if trusted and asserted else None
    if found is None:
        return Said(number, name, hidden)
    named = _NAME.match(asserted)
    return Said(found[1], (named[1] or named[2] or "") if named else "", hidden)
