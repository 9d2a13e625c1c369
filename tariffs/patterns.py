"""Patterns of numbers and names: an ordered list of regular expressions, each of which may replace a part. Pure.

The engine is RE2, whose time grows with the text's length alone, whatever the pattern: no pattern runs away. Its syntax
is Perl's without look-around and back references in the pattern. A pattern that matches anywhere replaces what it
matched first, once; the next one sees the result. In the replacement `\\1` to `\\9` are the groups, `\\0` is the match.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import re2

MOST_PATTERNS: Final = 32  # of one peer for one number
MOST_PATTERN_CHARACTERS: Final = 200
MOST_REPLACEMENT_CHARACTERS: Final = 64
MOST_CHARACTERS: Final = 64  # of a number or a name on its way through
_PATTERN_MEMORY_BYTES: Final = 1 << 20
_REPLACEMENT: Final = re.compile(r"(?:[A-Za-z0-9 +*#._-]|\\[0-9])*", re.ASCII)
_PIECE: Final = re.compile(r"\\([0-9])")
# What most patterns are: digits that a number begins with. They need no engine.
_BEGINNING: Final = re.compile(r"\^((?:[0-9#]|\\[+*])*)", re.ASCII)


class PatternError(ValueError):
    """A pattern, a replacement or a result that is not allowed: says which rule it breaks.

    Of one that may not be saved `field` is pattern or replacement, with its value and the rule; else they are empty.
    """

    def __init__(self, said: str, field: str = "", value: str = "", rule: str = "") -> None:
        self.field, self.value, self.rule = field, value, rule
        super().__init__(said)


class Pattern(NamedTuple):
    """A compiled pattern. `pieces`: the replacement as texts and numbers of groups.

    `beginning`: the text that it looks for at the beginning, where that is all that it says.
    """

    pattern: str
    replacement: str
    compiled: Any
    pieces: tuple[bytes | int, ...]
    beginning: str | None


def compile_pattern(pattern: str, replacement: str) -> Pattern:
    """A pattern that can be applied. Raises PatternError, which is what saving one asks too."""
    if not 1 <= len(pattern) <= MOST_PATTERN_CHARACTERS or not _is_printable(pattern):
        raise _refused("pattern", pattern, f"must be 1 to {MOST_PATTERN_CHARACTERS} printable ASCII characters")
    if len(replacement) > MOST_REPLACEMENT_CHARACTERS or _REPLACEMENT.fullmatch(replacement) is None:
        allowed = "letters, digits, blanks, + * # . _ - and groups \\0 to \\9"
        raise _refused("replacement", replacement, f"must be up to {MOST_REPLACEMENT_CHARACTERS} of {allowed}")
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        compiled = re2.compile(pattern.encode("ascii"), options)
    except re2.error as error:
        said = error.args[0].decode("ascii", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise _refused("pattern", pattern, f"RE2 does not accept it: {said[:120]}") from error
    pieces: list[bytes | int] = []
    for at, piece in enumerate(_PIECE.split(replacement)):
        if at % 2:
            if int(piece) > compiled.groups:
                raise _refused("replacement", replacement, f"names group {piece}, the pattern has {compiled.groups}")
            pieces.append(int(piece))
        elif piece:
            pieces.append(piece.encode("ascii"))
    plain = _BEGINNING.fullmatch(pattern)
    beginning = plain[1].replace("\\", "") if plain and not any(isinstance(piece, int) for piece in pieces) else None
    return Pattern(pattern, replacement, compiled, tuple(pieces), beginning)


def apply(patterns: Sequence[Pattern], text: str) -> str:
    """The text after all patterns, in order. Raises PatternError where it is not printable ASCII, or grows too long."""
    if len(text) > MOST_CHARACTERS or not _is_printable(text):
        raise PatternError(f"{text[:40]!r}: must be at most {MOST_CHARACTERS} printable ASCII characters")
    for pattern in patterns:
        text = _replace(pattern, text)
    return text


def _refused(field: str, value: str, rule: str) -> PatternError:
    return PatternError(f"{field} {value[:60]!r}: {rule}", field, value[:60], rule)


def _is_printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _replace(pattern: Pattern, text: str) -> str:
    if pattern.beginning is not None:
        if not text.startswith(pattern.beginning):
            return text
        result = pattern.replacement + text[len(pattern.beginning) :]
    else:
        raw = text.encode("ascii")
        match = pattern.compiled.search(raw)
        if match is None:
            return text
        put = [piece if isinstance(piece, bytes) else (match.group(piece) or b"") for piece in pattern.pieces]
        result = (raw[: match.start()] + b"".join(put) + raw[match.end() :]).decode("ascii")
    if len(result) > MOST_CHARACTERS:
        raise PatternError(f"pattern {pattern.pattern[:60]!r} makes more than {MOST_CHARACTERS} characters")
    return result
