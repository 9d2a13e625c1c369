"""The legs of a node by their packets: when each was answered and when it ended, as copies of its SIP messages show it.

A leg is an INVITE's Call-ID, and whether the INVITE came (a customer's leg) or went (a vendor's). A BYE that comes ends
it when Asterisk has taken it: one that is refused ends nothing. What cannot be told apart is not told: a Call-ID that
several legs of one kind have (not the same sender), or both kinds (a call that came back), has no word of the packets.

    what the relay asks   "these lines close legs": their packets, after waiting a moment for those to come
    why it waits          a caller's BYE goes out after the line that closes his leg is written; and what becomes of a
                          vendor's INVITE that was cancelled shows a round trip later

Nothing depends on it: without packets a leg is billed by the channel's own readings (schemas/wire_times.py). Bounded:
of too many legs the oldest are forgotten.
"""

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from router.agent.hep import Packet
from router.agent.journal_files import Line
from router.agent.refused import Refused, text_of
from router.agent.sip_head import Head
from schemas.wire_times import WireLeg
from sinks.metrics import Bounded, counter

MOST_YOUNG: Final = 20_000  # legs without an answer; anybody can make them
MOST_ANSWERED: Final = 50_000
UNHEARD_SECONDS: Final = 10.0
_CANCELLED: Final = 487
_CALL_ID_BYTES: Final = 128  # of a Call-ID, that the journal has
_CLOSED: Final = re.compile(rb"\|sid=([^|\"]{1,1024})\|facts=")
_OUTBOUND: Final = b'"LEG_RESULT"'
_KIND_BYTES: Final = 80  # of a line, in which its kind stands
YOUNG: Final = Bounded("agent_wire_young_legs", "Legs without an answer whose packets are known.")
ANSWERED: Final = Bounded("agent_wire_answered_legs", "Answered legs whose packets are known.")
BY_WIRE: Final = counter("agent_legs_by_wire", "Closed legs whose packets were known.")
BY_CHANNEL: Final = counter("agent_legs_by_channel", "Closed legs with a Call-ID, whose packets were not known.")


class LegKey(NamedTuple):
    """A leg: its Call-ID, and whether we have sent the INVITE."""

    call_id: bytes
    outbound: bool


class _Leg:
    __slots__ = ("ambiguous", "answered_ms", "asked_for", "branch", "bye", "ended_ms", "final", "from_tag")

    def __init__(self, from_tag: bytes) -> None:
        self.from_tag = from_tag
        self.branch = b""  # of the INVITE that was sent last
        self.final = 0
        self.answered_ms: int | None = None
        self.ended_ms: int | None = None
        self.bye: tuple[bytes, int] | None = None  # CSeq and moment of one that came and is not answered yet
        self.ambiguous = self.asked_for = False

    @property
    def is_over(self) -> bool:
        """Nothing more is to be waited for."""
        return self.ambiguous or self.ended_ms is not None or (self.answered_ms is None and self.final >= 300)


class Wire:
    """Messages in their order by `take`, from one thread; `of` and `forget` from another."""

    def __init__(self, direction: Callable[[Packet], bool | None]) -> None:
        """`direction`: whether a message went (True) or came; None: it cannot be told."""
        self._direction = direction
        self._young: OrderedDict[LegKey, _Leg] = OrderedDict()
        self._answered: OrderedDict[LegKey, _Leg] = OrderedDict()
        self._cancelled: deque[tuple[float, LegKey, Packet]] = deque(maxlen=MOST_YOUNG)
        self._changed = threading.Condition()
        YOUNG.watch(MOST_YOUNG, lambda: len(self._young))
        ANSWERED.watch(MOST_ANSWERED, lambda: len(self._answered))

    def take(self, packet: Packet, head: Head) -> None:
        """One message as it came or went."""
        if head.method not in (b"INVITE", b"BYE") or not head.call_id or 100 <= head.status < 200:
            return
        went = self._direction(packet)
        if went is None:
            return
        with self._changed:
            if head.method == b"BYE":
                self._bye(packet, head, went)
            elif head.status:
                self._answer(packet, head, LegKey(head.call_id[:_CALL_ID_BYTES], not went))
            elif not head.tag(b"to"):
                self._invite(head, LegKey(head.call_id[:_CALL_ID_BYTES], went))

    def of(self, lines: Sequence[Line], seconds: float) -> dict[Line, WireLeg]:
        """The packets of the legs that these lines close. Waits up to `seconds` until they are complete; for no leg
        twice.
        """
        keys = {line: key for line in lines if (key := closed_leg(line.raw)) is not None}
        if not keys:
            return {}
        until = time.monotonic() + seconds
        with self._changed:
            while self._incomplete(keys.values()) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            found = {line: self._word(key) for line, key in keys.items()}
        known = {line: leg for line, leg in found.items() if leg is not None}
        BY_WIRE.inc(len(known))
        BY_CHANNEL.inc(len(found) - len(known))
        return known

    def forget(self, lines: Iterable[Line]) -> None:
        """Those legs are closed, and sent."""
        with self._changed:
            for line in lines:
                if (key := closed_leg(line.raw)) is not None:
                    self._young.pop(key, None)
                    self._answered.pop(key, None)

    def unheard(self, seconds: float = UNHEARD_SECONDS) -> list[Refused]:
        """The INVITEs that were answered 487 longer than so many seconds ago, and that no line tells of: their callers
        cancelled them before the dialplan had begun. Each once. Not to be asked while lines wait to be read.
        """
        before = time.monotonic() - seconds
        found = []
        with self._changed:
            while self._cancelled and self._cancelled[0][0] < before:
                _, key, packet = self._cancelled.popleft()
                leg = self._young.get(key)
                if leg is None or leg.asked_for:
                    continue
                del self._young[key]
                call_id = text_of(key.call_id, _CALL_ID_BYTES)
                reason = "Request Terminated; cancelled before the dialplan had begun"
                found.append(
                    Refused(packet.at_ms, packet.target, packet.target_port, "INVITE", _CANCELLED, reason, call_id)
                )
        return found

    def _find(self, key: LegKey) -> _Leg | None:
        return self._answered.get(key) or self._young.get(key)

    def _incomplete(self, keys: Iterable[LegKey]) -> bool:
        legs = [leg for leg in map(self._find, keys) if leg is not None]
        return any(not (leg.is_over or leg.asked_for) for leg in legs)

    def _word(self, key: LegKey) -> WireLeg | None:
        leg, other = self._find(key), self._find(LegKey(key.call_id, not key.outbound))
        if leg is None or leg.ambiguous or other is not None:
            return None
        leg.asked_for = True
        # That an INVITE of ours was refused the channel has seen itself.
        return WireLeg(leg.answered_ms, leg.ended_ms, is_refused=not key.outbound and leg.final >= 300)

    def _invite(self, head: Head, key: LegKey) -> None:
        leg = self._find(key)
        if leg is not None:
            leg.ambiguous |= leg.from_tag != head.tag(b"from")
            leg.branch = head.branch
            return
        leg = self._young[key] = _Leg(head.tag(b"from"))
        leg.branch = head.branch
        if len(self._young) > MOST_YOUNG and not self._young.popitem(last=False)[1].is_over:
            YOUNG.lose()  # one that is over was refused before the dialplan: nothing closes it

    def _answer(self, packet: Packet, head: Head, key: LegKey) -> None:
        leg = self._young.get(key)
        # A response to no transaction of ours Asterisk leaves, too: no vendor makes his leg longer than the channel's.
        if leg is None or (key.outbound and head.branch != leg.branch):
            return
        if head.status >= 300:
            if head.status == _CANCELLED != leg.final and not key.outbound:
                self._cancelled.append((time.monotonic(), key, packet._replace(payload=b"")))
            leg.final = head.status
        else:
            leg.answered_ms = packet.at_ms
            self._answered[key] = self._young.pop(key)
            if len(self._answered) > MOST_ANSWERED:
                self._answered.popitem(last=False)
                ANSWERED.lose()
        self._changed.notify_all()

    def _bye(self, packet: Packet, head: Head, went: bool) -> None:
        call_id = head.call_id[:_CALL_ID_BYTES]
        for leg in (self._answered.get(LegKey(call_id, outbound)) for outbound in (True, False)):
            if leg is None or leg.ended_ms is not None:
                continue
            if not head.status:
                if went:
                    leg.ended_ms = packet.at_ms
                elif leg.bye is None:
                    leg.bye = (head.cseq, packet.at_ms)
            elif went and leg.bye is not None and leg.bye[0] == head.cseq:
                leg.ended_ms, leg.bye = leg.bye[1] if head.status < 300 else None, None
            if leg.ended_ms is not None:
                self._changed.notify_all()


def closed_leg(line: bytes) -> LegKey | None:
    """The leg that a line of the journal closes; None: it closes none, or one without a Call-ID."""
    found = _CLOSED.search(line)
    if found is None:
        return None
    return LegKey(unquote_to_bytes(found[1])[:_CALL_ID_BYTES], _OUTBOUND in line[:_KIND_BYTES])
