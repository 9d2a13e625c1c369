"""When all of an HTTP request has come: so that a thread is given to whole requests alone (worker.py). Pure.

Only what frames a request is read here. What is odd about it (a length twice, a length beside chunks, a line that is
no field) is left to the parser, which refuses it from the head alone.
"""

import re
from typing import Final, Literal

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 4 << 20
_MAX_BYTES: Final = MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES  # chunks of a byte each would be six times their body
_MAX_CHUNK_LINE: Final = 1_024
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,8})(?:[ \t]*;[^\r\n]*)?\Z")
_END: Final = b"\r\n\r\n"

State = Literal["more", "whole", "head too large", "body too large"]


class Coming:
    """What has come of a request so far. `add` what comes; `state` says whether that is all of it."""

    __slots__ = ("_at", "_chunked", "_whole", "data", "expects")

    def __init__(self) -> None:
        self.data = bytearray()
        self.expects = False  # it waits for `100 Continue` before it sends its body
        self._at = 0  # nothing before this has to be looked at again
        self._chunked = False  # then `_at` is where the next chunk begins
        self._whole: int | None = None  # so many bytes are all of it; None: not known yet

    def add(self, more: bytes) -> State:
        """Take what has come, and say the state after it."""
        self.data += more
        refused: State | None = None
        if self._whole is None and not self._chunked:
            refused = self._read_head()
        if refused is None and self._chunked and self._whole is None:
            refused = self._read_chunks()
        if refused is not None:
            return refused
        if self._whole is not None:
            return "whole" if len(self.data) >= self._whole else "more"
        if not self._chunked and len(self.data) > MAX_HEAD_BYTES:
            return "head too large"
        return "body too large" if len(self.data) > _MAX_BYTES else "more"

    def _read_head(self) -> State | None:
        while self.data.startswith(b"\r\n"):  # empty lines before a request are skipped (RFC 9112)
            del self.data[:2]
        end = self.data.find(_END, self._at)
        if end < 0:
            self._at = max(0, len(self.data) - len(_END) + 1)
            return None
        if end > MAX_HEAD_BYTES:
            return "head too large"
        lengths, codings = [], []
        for line in bytes(self.data[:end]).split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            field, text = name.lower(), value.strip(b" \t").lower()
            if field == b"content-length":
                lengths.append(text)
            elif field == b"transfer-encoding":
                codings.append(text)
            elif field == b"expect" and text == b"100-continue":
                self.expects = True
        self._whole = self._at = end + len(_END)
        if codings and not lengths and codings[-1].endswith(b"chunked"):
            self._chunked, self._whole = True, None
        elif len(lengths) == 1 and not codings and lengths[0].isdigit():
            length = int(lengths[0]) if len(lengths[0]) < 16 else MAX_BODY_BYTES + 1
            if length > MAX_BODY_BYTES:
                return "body too large"
            self._whole += length
        return None

    def _read_chunks(self) -> State | None:
        while (end := self.data.find(b"\r\n", self._at)) >= 0:
            found = _CHUNK.match(bytes(self.data[self._at : end]))
            if found is None:  # the parser will say what is wrong
                self._whole = end
                return None
            size = int(found[1], 16)
            if size == 0:
                after = self.data.find(_END, end)  # trailers may come between
                self._whole = after + len(_END) if after >= 0 else None
                return "head too large" if after < 0 and len(self.data) - end > MAX_HEAD_BYTES else None
            if end + 2 + size + 2 > len(self.data):
                return None
            self._at = end + 2 + size + 2
        return "body too large" if len(self.data) - self._at > _MAX_CHUNK_LINE else None
