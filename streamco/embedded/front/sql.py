"""What the interface must know of a statement: its kind, its FORMAT, and where the data of an INSERT begins. Pure.

A statement is cut into tokens once, so that words inside strings, quoted names and comments are never taken for SQL.
What does not end reaches to the end of the text: looked for again from each of its marks, it would take as many times
as long as the text has marks, and whoever may ask anything could stop everybody else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["select", "show", "kill", "insert", "change"]
"""select: can be streamed. show, kill: has a result, cannot. insert: data follows. change: has no result."""

_TOKEN: Final = re.compile(
    rb"""(?P<gap>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<open>'.*|".*|`.*|/\*.*|\$\w*\$.*)
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<mark>[();])
    |(?P<other>[^\s'"`A-Za-z_$();/\#-]+|.)""",
    re.DOTALL | re.VERBOSE,
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ONE_NAME: Final = r"(?:[A-Za-z_]\w*|`(?:[^`\\]|\\.)+`|\"(?:[^\"\\]|\\.)+\")"
_TARGET: Final = re.compile(
    rf"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?P<name>{_ONE_NAME}(?:\.{_ONE_NAME})?)\s*"
    rf"(?:\(\s*(?P<columns>{_ONE_NAME}(?:\s*,\s*{_ONE_NAME})*)\s*\)\s*)?",
    re.IGNORECASE,
)
_SHOWING: Final = {b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK"}
_SELECTING: Final = {b"SELECT", b"WITH", b"FROM", b"("}
_DATA_ELSEWHERE: Final = {b"SELECT", b"WITH", b"FROM", b"WATCH"}
_LONGEST_INSERT_HEAD: Final = 1 << 20


class StatementError(ValueError):
    """The statement cannot be taken; the text is ClickHouse's own, code and all."""


@dataclass(frozen=True)
class Statement:
    """`head`: the statement, of an insert without FORMAT and data. `data_at`: where an insert's data begins."""

    kind: Kind
    head: bytes
    format: str | None = None
    data_at: int = 0


def is_name(text: str) -> bool:
    """May this be a setting's or a table's name without quotes?"""
    return _NAME.fullmatch(text) is not None


def literal(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def tokens(sql: bytes) -> Iterator[re.Match[bytes]]:
    """The words, quoted texts and marks of a statement in their order, without what is between them."""
    for token in _TOKEN.finditer(sql):
        if token["gap"] is None:
            yield token


def read_insert(start: bytes) -> Statement | None:
    """The insert whose data follows in `start` (the first bytes of a body are enough). None: it is something else."""
    depth = 0
    head_end: int | None = None
    for number, token in enumerate(tokens(start[:_LONGEST_INSERT_HEAD])):
        word = (token["word"] or b"").upper()
        if (number == 0 and word != b"INSERT") or token["open"] is not None:
            return None
        if head_end is not None:
            if not word:
                return None
            return Statement("insert", start[:head_end], token[0].decode(), _data_at(start, token.end()))
        if token[0] in (b"(", b")"):
            depth += 1 if token[0] == b"(" else -1
        elif depth == 0 and (word in _DATA_ELSEWHERE or token[0] == b";"):
            return None
        elif depth == 0 and word == b"VALUES":
            return Statement("insert", start[: token.start()], "Values", token.end())
        elif depth == 0 and word == b"FORMAT":
            head_end = token.start()
    return None


def read_target(head: str) -> tuple[str, str] | None:
    """(table, columns) of an insert's head as they are written there, columns '' for all. None: it says more."""
    found = _TARGET.fullmatch(head)
    return None if found is None else (found["name"], found["columns"] or "")


def _data_at(body: bytes, at: int) -> int:
    """Data begins behind the format's name, spaces and one line end. More is data: binary may begin with anything."""
    gap = re.compile(rb"[ \t]*(?:\r?\n)?").match(body, at)
    return gap.end() if gap else at


def read_statement(sql: bytes) -> Statement:
    """Kind and format of a statement that is whole. Raises StatementError when there are several, or is none.

    The engine takes nothing, and a quote that does not end, for a statement that succeeds.
    """
    found = list(tokens(sql))
    while found and found[-1][0] == b";":
        found.pop()
    words = [(token["word"] or token[0]).upper() for token in found]
    if b";" in words:
        raise StatementError("Code: 62. DB::Exception: Syntax error: Multi-statements are not allowed. (SYNTAX_ERROR)")
    if not words or any(token["open"] is not None for token in found):
        why = "a quote or comment does not end" if words else "Empty query"
        raise StatementError(f"Code: 62. DB::Exception: Syntax error: {why}. (SYNTAX_ERROR)")
    first = words[0]
    if first in _SELECTING:
        return Statement("select", sql, _format(found, words))
    kind: Kind = "kill" if first == b"KILL" else "show" if first in _SHOWING else "change"
    return Statement(kind, sql, _format(found, words))


def _format(found: list[re.Match[bytes]], words: list[bytes]) -> str | None:
    """FORMAT stands at the end, but for SETTINGS; anywhere else it is a column or the function."""
    depth = 0
    for at, word in enumerate(words):
        if word in (b"(", b")"):
            depth += 1 if word == b"(" else -1
        named = at + 1 < len(words) and found[at + 1]["word"] is not None
        if word == b"FORMAT" and depth == 0 and named and words[at + 2 : at + 3] in ([], [b"SETTINGS"]):
            return found[at + 1][0].decode()
    return None
