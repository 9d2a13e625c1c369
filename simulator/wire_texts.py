"""What a node makes of the numbers in an INVITE before anything else sees them, as Asterisk and the dialplan do. Pure.

Asterisk cuts a text at a NUL and after 79 bytes; the dialplan ends what may have been cut with an ellipsis. A text may
hold bytes that are no UTF-8, as surrogates (PEP 383).

    >>> as_read("999210000010\\0abc")
    '999210000010…'
"""

from typing import Final
from urllib.parse import quote

MOST_BYTES: Final = 79
CUT: Final = "…"


def as_read(text: str, empty: str = "") -> str:
    """The text that goes into the AGI arguments and the journal; `empty` where Asterisk reads none."""
    raw = text.encode(errors="surrogateescape")
    whole, nul, _ = raw.partition(b"\0")
    read = whole[:MOST_BYTES].decode(errors="surrogateescape") or empty
    return read + CUT if nul or len(whole) >= MOST_BYTES else read


def encoded(text: str) -> str:
    """URI-encoded, as the dialplan's URIENCODE: nothing is left that begins a line or a field."""
    return quote(text, safe="", errors="surrogateescape")
