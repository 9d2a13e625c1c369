"""SIP requests that Asterisk refuses by itself, before its dialplan: told apart, and bounded by source. Pure.

Of all copies of SIP messages (agent/wire/hep.py) only our own final refusals matter. Not among them: what the
dialplan refused, which has Q.850's cause in Reason, or 18x before it, and a call of its own in the journal; what ends
a cancelled INVITE (487), unless no line tells of it (agent/wire/legs.py); a first 401 or 407, which asks for
credentials; anything inside a dialog; and what is sent again.
A wrong password is a 401 to a request that had credentials. What PJSIP cannot parse it drops without an answer: there
is no copy of it, and no record.

What is recorded is bounded: so many records of a source and of a node in a minute. What is beyond is counted, and the
source's next record says how many were not recorded.
"""

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

from agent.wire.hep import Packet
from agent.wire.sip_head import Head

MOST_OF_SOURCE: Final = 10  # records a minute
MOST_OF_NODE: Final = 300
MOST_SOURCES: Final = 5_000
MOST_REQUESTS: Final = 10_000
MOST_REASON: Final = 200
_WINDOW_MS: Final = 60_000
_LONGEST_KEY: Final = 128
_TRYING: Final = 100
_REFUSALS_FROM: Final = 300
_NO_REFUSAL: Final = frozenset((487,))
_CHALLENGES: Final = frozenset((401, 407))


class Refused(NamedTuple):
    """A request that was refused, and who sent it. `reason`: the phrase, and what Warning or Unsupported say."""

    at_ms: int
    address: str
    port: int
    method: str
    sip_code: int
    reason: str
    sip_call_id: str


class Record(NamedTuple):
    """A refusal to be kept. `not_recorded`: how many of its source were not, since the record before."""

    refused: Refused
    not_recorded: int


class _Request:
    __slots__ = ("done", "has_credentials", "in_dialog")

    def __init__(self, *, in_dialog: bool, has_credentials: bool) -> None:
        self.in_dialog, self.has_credentials = in_dialog, has_credentials
        self.done = False  # the dialplan has it, or it was refused already


class Reader:
    """Takes packets in their order. `server` is what our own responses have in Server, `sip_port` where we listen."""

    def __init__(self, server: str, sip_port: int) -> None:
        self._server, self._sip_port = server.encode(), sip_port
        self._requests: OrderedDict[tuple[bytes, bytes], _Request] = OrderedDict()

    def read(self, packet: Packet, head: Head) -> Refused | None:
        """The refusal that a message is; None: it is another one."""
        headers, key = head.headers, (_short(head.call_id), _short(head.cseq))
        if not head.status:
            self._remember(key, head)
            return None
        if packet.source_port != self._sip_port or headers.get(b"server") != self._server:
            return None
        code, request = head.status, self._requests.get(key)
        if code == _TRYING:
            return None
        if request is None:
            request = self._remember(key, None)
        if code in _CHALLENGES and not request.has_credentials:
            return None
        was_done, request.done = request.done, True
        if was_done or request.in_dialog or code < _REFUSALS_FROM or code in _NO_REFUSAL or b"reason" in headers:
            return None
        more = [headers[name] for name in (b"warning", b"unsupported") if name in headers]
        reason = "; ".join(text_of(part, MOST_REASON) for part in (head.phrase, *more))
        return Refused(
            packet.at_ms,
            packet.target,
            packet.target_port,
            text_of(head.method, 16),
            code,
            reason[:MOST_REASON],
            text_of(head.call_id, 128),
        )

    def _remember(self, key: tuple[bytes, bytes], head: Head | None) -> _Request:
        """`head` of the request itself; None: there was no copy of it."""
        request = self._requests.get(key)
        if request is None:
            headers = {} if head is None else head.headers
            credentials = b"authorization" in headers or b"proxy-authorization" in headers
            in_dialog = head is not None and bool(head.tag(b"to"))
            request = self._requests[key] = _Request(in_dialog=in_dialog, has_credentials=credentials)
            if len(self._requests) > MOST_REQUESTS:
                self._requests.popitem(last=False)
        return request


class _Source:
    __slots__ = ("left_out", "since_ms", "taken")

    def __init__(self, at_ms: int) -> None:
        self.since_ms, self.taken, self.left_out = at_ms, 0, 0


class Bounds:
    """What of a flood is recorded. Moments in milliseconds of any clock that only goes on."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._node = _Source(0)
        self.not_recorded = 0

    def __len__(self) -> int:
        """So many sources are known."""
        return len(self._sources)

    def take(self, refused: Refused, now_ms: int) -> Record | None:
        """The record to be kept; None: it is counted alone."""
        source = self._sources.get(refused.address)
        if source is None:
            source = self._sources[refused.address] = _Source(now_ms)
            if len(self._sources) > MOST_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(refused.address)
        for one in (source, self._node):
            if now_ms - one.since_ms >= _WINDOW_MS:
                one.since_ms, one.taken = now_ms, 0
        if source.taken >= MOST_OF_SOURCE or self._node.taken >= MOST_OF_NODE:
            source.left_out += 1
            self.not_recorded += 1
            return None
        source.taken += 1
        self._node.taken += 1
        left_out, source.left_out = source.left_out, 0
        return Record(refused, left_out)


def _short(value: bytes) -> bytes:
    """A key for a text that anybody may make long."""
    return value if len(value) <= _LONGEST_KEY else hashlib.blake2b(value, digest_size=16).digest()


def text_of(value: bytes, most: int) -> str:
    """Text of the wire that may be stored and shown: printable, and no longer than that."""
    text = value.decode("utf-8", "replace")[:most]
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
