"""What a password must be: long, and none of those that are tried first. No rules on kinds of characters. Pure."""

import unicodedata
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final

MIN_CHARACTERS: Final = 12
MAX_CHARACTERS: Final = 256
_LONGEST_REPEATED: Final = 4
_PRODUCT: Final = "streamco"


def password_fault(password: str, login: str = "") -> str:
    """The rule that a password breaks, for people; empty if it breaks none. `login`: whose it is to be."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        return f"from {MIN_CHARACTERS} to {MAX_CHARACTERS} characters"
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in password):
        return "must have no control character"
    plain = password.casefold()
    if plain in _common() or _simple(plain):
        return "is one of those that are guessed first; take another one"
    left = plain.replace(_PRODUCT, "").replace(login.casefold(), "") if login else plain.replace(_PRODUCT, "")
    if len(left) < MIN_CHARACTERS // 2:
        return "must be more than the login, or the product's name, with something added"
    return ""


@cache
def _common() -> frozenset[str]:
    lines = (files("dashboards.access") / "common_passwords.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _simple(text: str) -> bool:
    """A few characters over and over, or one after the other: `abababababab`, `123456789012`, `zyxwvutsrqpo`."""
    for length in range(1, _LONGEST_REPEATED + 1):
        if (text[:length] * (len(text) // length + 1))[: len(text)] == text:
            return True
    steps = {(ord(after) - ord(before)) for before, after in pairwise(text)}
    # From 9 the next digit is 0.
    return steps <= {1, -9} or steps <= {-1, 9}
