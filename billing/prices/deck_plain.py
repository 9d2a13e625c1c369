"""The quick way through a deck's file: whole blocks of plain rows are judged by one pattern, and written as they are.

Plain is a row of nothing but digits, a price that is allowed and perhaps a moment, without quotes or spaces. At the
first block that is not all plain the usual way goes on (deck_file.py), which alone tells faults and their rows: so a
file is taken or refused exactly as if every row had gone the usual way, in a tenth of the time.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_BLOCK_BYTES: Final = 1 << 18
_MOST_LINE_BYTES: Final = 1_000
_HEADER: Final = re.compile(rb"(?:\xef\xbb\xbf)?code,price(,effective_from)?\r?\n")
_CODE: Final = rb"[0-9]{1,15}"
_PRICE: Final = rb"(?:%s[0-9]{1,5}(?:\.[0-9]{1,8})?|blocked)"
_NOT_FREE: Final = rb"(?=[0.]*[1-9])"
_MOMENT: Final = rb"(?:,[0-9TZ:.+-]*)"
_BLOCKED: Final = b"blocked"


class Plain(NamedTuple):
    """A block of rows as COPY reads them, and where the next one begins in the file."""

    text: bytes
    rows: int
    next_byte: int


def plain_blocks(path: Path, *, allow_free: bool, moment_of: Callable[[str], str]) -> Iterator[Plain]:
    """Blocks of plain rows from the start of the file; they end before the first that is not, or with the file.

    COPY columns: line, code, price, effective_from. `moment_of` makes a moment of a text and raises ValueError.
    """
    with path.open("rb") as file:
        header = _HEADER.match(file.read(_MOST_LINE_BYTES))
        if header is None:
            return
        row = _CODE + b"," + _PRICE % (b"" if allow_free else _NOT_FREE) + (_MOMENT if header[1] else b"")
        plain = re.compile(rb"(?:%s\r?\n)+" % row)
        at, line = header.end(), 2
        file.seek(at)
        while block := file.read(_BLOCK_BYTES):
            rows = block if len(block) < _BLOCK_BYTES else block[: block.rfind(b"\n") + 1]
            if not rows or plain.fullmatch(rows if rows.endswith(b"\n") else rows + b"\n") is None:
                return
            try:
                text, count = _copied(rows, line, moment_of)
            except ValueError:
                return
            at, line = at + len(rows), line + count
            yield Plain(text, count, at)
            file.seek(at)


def _copied(rows: bytes, line: int, moment_of: Callable[[str], str]) -> tuple[bytes, int]:
    always = moment_of("").encode()
    found: list[bytes] = []
    for number, row in enumerate(rows.split(), start=line):
        code, price, *moment = row.split(b",")
        effective = moment_of(moment[0].decode()).encode() if moment and moment[0] else always
        found.append(b"%d\t%b\t%b\t%b\n" % (number, code, b"\\N" if price == _BLOCKED else price, effective))
    return b"".join(found), len(found)
