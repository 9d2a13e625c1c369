"""The head of a SIP message, as far as the agent looks at it. Pure."""

import re
from typing import Final, NamedTuple

_MOST_HEAD_BYTES: Final = 8_192
_STATUS: Final = re.compile(rb"SIP/2\.0 ([1-6]\d\d)(?: ([^\r\n]*))?\r?\n")
_REQUEST: Final = re.compile(rb"([A-Z]{1,32}) [^\r\n]{1,2048} SIP/2\.0\r?\n")
_NAMES: Final = rb"Via|v|Call-ID|i|CSeq|From|f|To|t|Reason|Warning|Unsupported|Server|Authorization|Proxy-Authorization"
_HEADER: Final = re.compile(rb"^(" + _NAMES + rb")[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_SHORT: Final = {b"v": b"via", b"i": b"call-id", b"f": b"from", b"t": b"to"}
_ONCE: Final = frozenset((b"call-id", b"cseq", b"from", b"to"))
_TAGGED: Final = frozenset((b"from", b"to"))
_ODD_LINES: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\r\n[ \t]")
_BRANCH: Final = re.compile(rb";[ \t]*branch[ \t]*=[ \t]*([^;,\s]{1,256})", re.IGNORECASE)
_TAG: Final = re.compile(rb";[ \t]*tag[ \t]*=[ \t]*([^;,\s]{1,256})", re.IGNORECASE)


class Head(NamedTuple):
    """`status` of a request is 0; `method` of a response is that of the request it answers. Headers are those that
    matter, by their long names in small letters; of one that comes twice the first. `is_doubled`: one that may come
    once came twice, or it is folded, quoted where tags stand, longer than what is read, or has other ends of lines:
    another reader may read it otherwise.
    """

    status: int
    phrase: bytes
    method: bytes
    headers: dict[bytes, bytes]
    is_doubled: bool = False

    @property
    def call_id(self) -> bytes:
        """The Call-ID, or nothing."""
        return self.headers.get(b"call-id", b"")

    @property
    def cseq(self) -> bytes:
        """Number and method."""
        return self.headers.get(b"cseq", b"")

    @property
    def number(self) -> bytes:
        """The number of CSeq."""
        return self.cseq.partition(b" ")[0]

    def tag(self, name: bytes) -> bytes:
        """The tag of From or To; empty: it has none. Not one within the address or its display name."""
        found = _TAG.search(_parameters(self.headers.get(name, b"")))
        return found[1] if found else b""

    @property
    def branch(self) -> bytes:
        """The transaction, by the topmost Via; empty: it has none."""
        found = _BRANCH.search(self.headers.get(b"via", b""))
        return found[1] if found else b""


def read_head(payload: bytes) -> Head | None:
    """The head of a message; None: it is none. Line ends before it do not matter."""
    payload = payload.lstrip(b"\r\n")
    head, end, _ = payload[:_MOST_HEAD_BYTES].partition(b"\r\n\r\n")
    status, request = _STATUS.match(payload), _REQUEST.match(payload)
    headers: dict[bytes, bytes] = {}
    is_doubled = _ODD_LINES.search(head) is not None or (not end and len(payload) > _MOST_HEAD_BYTES)
    for name, value in _HEADER.findall(head):
        small = name.lower()
        full = _SHORT.get(small, small)
        is_doubled |= full in _ONCE and full in headers
        if full in _TAGGED:
            behind = _parameters(value)
            is_doubled |= b'"' in behind or len(_TAG.findall(behind)) > 1
        headers.setdefault(full, value.strip())
    if status is not None:
        method = headers.get(b"cseq", b"").rpartition(b" ")[2]
        return Head(int(status[1]), status[2] or b"", method, headers, is_doubled)
    return Head(0, b"", request[1], headers, is_doubled) if request is not None else None


def _parameters(address: bytes) -> bytes:
    """What stands behind the URI of From or To."""
    return address.rpartition(b">")[2]
