"""Ported numbers: what a dialled text says of its routing number, and when a look-up has to be asked. Pure.

Source: RFC 4694. `rn` is the routing number (the LRN of a ported number, or the number's own switch), `npdi` says that
the database has been asked already. Both stand behind the number as parameters of the URI's user part.
"""

import re
from typing import Final, Literal, NamedTuple

from router.snapshot.config import Peer
from router.snapshot.lookups import Lookup

_GLOBAL: Final = re.compile(r"\+([0-9]{3,15})", re.ASCII)
_LOCAL: Final = re.compile(r"[0-9]{3,15}", re.ASCII)
_CONTEXT: Final = re.compile(r"\+([0-9]{1,5})", re.ASCII)
_PARAMETER: Final = r"[A-Za-z-]{1,32}(=[0-9A-Za-z+.-]{0,64})?"
_PARAMETERS: Final = re.compile(f"{_PARAMETER}(;{_PARAMETER}){{0,7}}", re.ASCII)
MOST_DIGITS: Final = 15

Outcome = Literal[
    "found",  # the answer names another routing number
    "same",  # the answer says: not ported, or not known
    "unknown network",  # of a mobile network that has no code here
    "no answer",  # in time
    "bad answer",
    "busy",  # as many questions are open as there may be
    "resting",  # it failed several times running: nobody asks for a while
]
FAILED: Final[frozenset[Outcome]] = frozenset(("no answer", "bad answer", "busy", "resting"))


class Dip(NamedTuple):
    """What a look-up came to. `routing_number` is empty unless it was found. Times in microseconds."""

    lookup: str
    number: str
    outcome: Outcome
    routing_number: str = ""
    cached: bool = False
    micros: int = 0

    @property
    def words(self) -> str:
        """For people: `NPAC: found 12015550000 (cached)`."""
        return f"{self.lookup}: {self.outcome} {self.routing_number}".rstrip() + (" (cached)" if self.cached else "")


class Ported(NamedTuple):
    """The user part of a URI: the number as dialled, the digits of `rn` or nothing, and whether `npdi` is there."""

    dialled: str
    routing_number: str
    dipped: bool


def take_apart(user: str) -> Ported:
    """The parts of a URI's user part. An `rn` that is no number, or is there twice, is none: nothing is repaired.

    What stands behind the semicolon and is no list of parameters leaves the text whole: then it is no number either.
    """
    dialled, semicolon, rest = user.partition(";")
    if not semicolon or _PARAMETERS.fullmatch(rest) is None:
        return Ported(user, "", dipped=False)
    values: dict[str, list[str]] = {}
    for parameter in rest.split(";"):
        name, _, value = parameter.partition("=")
        values.setdefault(name.lower(), []).append(value)
    return Ported(dialled, _routing_number(values), dipped="npdi" in values)


def _routing_number(values: dict[str, list[str]]) -> str:
    given = values.get("rn", [])
    if len(given) != 1:
        return ""
    if matched := _GLOBAL.fullmatch(given[0]):
        return matched[1]
    contexts = values.get("rn-context", [])
    context = _CONTEXT.fullmatch(contexts[0]) if len(contexts) == 1 else None
    if context is None or _LOCAL.fullmatch(given[0]) is None:
        return ""
    number = context[1] + given[0]
    return number if len(number) <= MOST_DIGITS else ""


def must_ask(peer: Peer, lookup: Lookup | None, callee: str, *, dipped: bool) -> bool:
    """Whether the peer's look-up is to be asked for this number (E.164 digits) before it is routed."""
    if lookup is None or (peer.trust_lrn and dipped):
        return False
    return not lookup.codes or callee.startswith(lookup.codes)
