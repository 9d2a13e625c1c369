"""Which calls of earlier starts of Asterisk the journal never closed: found by bytes, in gigabytes of lines. Pure.
And which of some calls it tells of at all.

Of each line only its kind, call and leg are looked at; whole lines are kept of open calls alone. What a line says
in full is the codec's matter (schemas/journal.py), for the few that stay open.
"""

import re
from collections.abc import Collection
from typing import Final

from agent.journal.marks import whole_lines
from schemas.journal import has_parts, parts_of

# A line is whole if it ends as lines do: of one that is cut off, or followed by something else, nobody makes an event.
_WHOLE: Final = (
    rb'"USER_DEFINED","[0-9.]{1,24}","(LEG_START|LEG_ANSWER|LEG_RESULT|CALL_END)",'
    rb'"[^\n|]{0,64}\|call=(([a-z][a-z0-9]{0,15})-([0-9]{10})-[0-9.]{1,24})\|(?:leg=([0-9]{1,2})\|)?[^\n]*\}"(?:,"[^"\n]{0,64}")?'
)
# Asterisk's own event of a vendor's channel (schemas/journal_witness.py)
_ANSWERED: Final = (
    rb'"USER_DEFINED","[0-9.]{1,24}","(ANSWER)","","(([a-z][a-z0-9]{0,15})-([0-9]{10})-[0-9.]{1,24})/([0-9]{1,2})"'
)
_EITHER: Final = rb"(?:" + _WHOLE + rb"|" + _ANSWERED + rb")"
_LINE: Final = re.compile(_EITHER + rb"\r?\n")
_PART: Final = re.compile(_EITHER + rb"(?:\r?\n)?")
_OPENING: Final = (b"LEG_START", b"LEG_ANSWER", b"ANSWER")
_EPOCH_DIGITS: Final = 10
MAX_REST_BYTES: Final = 1 << 20  # no line is so long: what has no end until here is none


class OpenCall:
    """The lines of a call so far, and its legs without a result."""

    __slots__ = ("ended", "legs", "lines")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.legs: set[bytes] = set()
        self.ended = False


class OpenCalls:
    """Fed with the journal from its oldest byte on; `lines` says what has stayed open."""

    def __init__(self, node: str, first_epoch: int, before_epoch: int) -> None:
        """Calls of this node, of the epochs from `first_epoch` up to, and without, `before_epoch`."""
        self._node = node.encode()
        self._first = str(first_epoch).zfill(_EPOCH_DIGITS).encode()
        self._before = str(before_epoch).zfill(_EPOCH_DIGITS).encode()
        self._calls: dict[bytes, OpenCall] = {}
        self._rest = b""

    def take(self, chunk: bytes) -> None:
        """The next bytes; a line may be split between two chunks."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._rest = (self._rest + chunk)[-MAX_REST_BYTES:]
            return
        whole = self._rest + chunk[:end] if self._rest else chunk[:end]
        self._rest = chunk[end:]
        if not has_parts(whole):
            for match in _LINE.finditer(whole):
                self._take_line(match)
            return
        for line in whole_lines(whole, len(whole) + 1):
            if (part := _PART.fullmatch(line)) is not None:
                self._take_line(part)

    def _take_line(self, match: "re.Match[bytes]") -> None:
        groups = match.groups()
        kind, call, node, epoch, leg = groups[:5] if groups[0] is not None else groups[5:]
        if self._first <= epoch < self._before and node == self._node:
            self._fold(kind, call, leg, match)

    def end_file(self) -> None:
        """A file has ended. A torn last line of it closes nothing: nobody may ever read it. It may have opened a leg,
        though, if only its line end is missing.
        """
        for part in parts_of(self._rest):
            line = _PART.fullmatch(part)
            if line is not None and (line[1] or line[6]) in _OPENING:
                self._take_line(line)
        self._rest = b""

    def lines(self) -> dict[str, list[bytes]]:
        """The open calls' lines in their order, by call id."""
        return {call_id.decode(): list(call.lines) for call_id, call in self._calls.items()}

    def _fold(self, kind: bytes, call_id: bytes, leg: bytes | None, match: "re.Match[bytes]") -> None:
        call = self._calls.get(call_id)
        if kind == b"LEG_START":
            if call is None:
                call = self._calls[call_id] = OpenCall()
            call.legs.add(leg or b"")
        elif call is None:
            return
        elif kind == b"LEG_RESULT":
            call.legs.discard(leg or b"")
        elif kind == b"CALL_END":
            call.ended = True
        if call.ended and not call.legs:
            del self._calls[call_id]
        else:
            call.lines.append(match[0])


class ToldCalls(OpenCalls):
    """Fed in the same way: those of some calls of which there is any whole line of the dialplan's, or a vendor's answer
    by Asterisk's own.
    """

    def __init__(self, node: str, wanted: Collection[str]) -> None:
        """`wanted`: ids of calls of this node."""
        super().__init__(node, 0, 0)
        self._wanted = {call_id.encode() for call_id in wanted}
        self._told: set[bytes] = set()

    @property
    def told(self) -> frozenset[str]:
        """Those found so far."""
        return frozenset(call_id.decode() for call_id in self._told)

    def _take_line(self, match: "re.Match[bytes]") -> None:
        call = match[2] or match[7]  # of the dialplan's line, or of Asterisk's own
        if call in self._wanted:
            self._told.add(call)
