"""The legs of a node by their packets: when each was answered and when it ended, as copies of its SIP messages show it.

A leg is known by the tag that Asterisk itself has given its dialog, which the journal has beside the Call-ID: that its
sender may use for whatever he likes, and for several legs at once.

    customer's leg  begun by an INVITE that came; its tag is in our answers to that INVITE, and to no other
                    answered by our 200; refused by our 487
    vendor's leg    begun by an INVITE that went, with its tag; answered by a 200 that Asterisk has acknowledged: one
                    that it leaves is no answer
    either          ended by a BYE that went, or by one that came and that Asterisk has answered 2xx
                    a caller who has sent no ACK can be sent no BYE

What Asterisk acts upon shows in what it sends, never in what comes alone. A moment of something that came counts if our
word on it followed within `PROMPT_MS`. Of several that fit, it is the last that our word was on, or the same bytes
before it, which are its first sending: one that Asterisk has not taken can look like the one that it takes, but must
differ from it. A dialog that is doubtful (a copy is missing) has no word.

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

from agent.journal.files import Line
from agent.wire.hep import Packet
from agent.wire.refused import Refused, text_of
from agent.wire.sip_head import Head
from runtime.metrics import Bounded, counter
from schemas.wire_times import WireLeg

MOST_YOUNG: Final = 20_000  # legs without an answer; anybody can make them
MOST_ANSWERED: Final = 50_000
UNHEARD_SECONDS: Final = 10.0
PROMPT_MS: Final = 1_000
_MOST_WAITING: Final = 4  # answers, and BYEs, of a leg that wait for our word on them
_CANCELLED: Final = 487
_CALL_ID_BYTES: Final = 128
_MOST_CALL_ID_BYTES: Final = 512
_CLOSED: Final = re.compile(rb"\|sid=[^|@\"]{0,1024}@([^|@\"]{1,256})\|facts=")
YOUNG: Final = Bounded("agent_wire_young_legs", "Legs without an answer whose packets are known.")
ANSWERED: Final = Bounded("agent_wire_answered_legs", "Answered legs whose packets are known.")
BY_WIRE: Final = counter("agent_legs_by_wire", "Closed legs whose packets were known.")
BY_CHANNEL: Final = counter("agent_legs_by_channel", "Closed legs with a Call-ID, whose packets were not known.")


class _Invite(NamedTuple):
    """An INVITE that came, outside of any dialog."""

    call_id: bytes
    from_tag: bytes
    cseq: bytes
    branch: bytes


class _Came(NamedTuple):
    """A message that came, and that our word is awaited on: by `key`. `content`: the same for the same bytes."""

    key: tuple[bytes, ...]
    at_ms: int
    content: int


class _Leg:
    __slots__ = (
        "answered_ms",
        "asked_for",
        "came",
        "ended_by_us",
        "ended_ms",
        "final",
        "invite",
        "is_acknowledged",
        "is_closed",
        "is_doubtful",
        "other_tag",
        "outbound",
    )

    def __init__(self, invite: _Invite, *, outbound: bool) -> None:
        self.invite, self.outbound = invite, outbound
        self.final = 0
        self.other_tag = invite.from_tag  # of an outbound leg known with its answer
        self.answered_ms: int | None = None
        self.ended_ms: int | None = None
        self.came: deque[_Came] = deque(maxlen=_MOST_WAITING)
        self.asked_for = self.is_doubtful = self.is_acknowledged = self.is_closed = self.ended_by_us = False

    @property
    def is_over(self) -> bool:
        """Nothing more is to be waited for."""
        return self.is_doubtful or self.is_closed or (self.answered_ms is None and self.final >= 300)

    def arrival(self, key: tuple[bytes, ...], at_ms: int) -> int | None:
        """When that came, of which our word went out at `at_ms`; None: it did not, or not just before."""
        fitting = [one for one in self.came if one.key == key and 0 <= at_ms - one.at_ms <= PROMPT_MS]
        return min((one.at_ms for one in fitting if one.content == fitting[-1].content), default=None)


class Wire:
    """Messages in their order by `take`, from one thread; the rest from another."""

    def __init__(self, direction: Callable[[Packet], bool | None]) -> None:
        """`direction`: whether a message went (True) or came; None: it cannot be told."""
        self._direction = direction
        self._invites: OrderedDict[_Invite, _Leg] = OrderedDict()  # that came, and have no tag of ours yet
        self._young: OrderedDict[bytes, _Leg] = OrderedDict()  # by our tag
        self._answered: OrderedDict[bytes, _Leg] = OrderedDict()
        self._cancelled: deque[tuple[float, bytes, Packet]] = deque(maxlen=MOST_YOUNG)
        self._changed = threading.Condition()
        YOUNG.watch(MOST_YOUNG, lambda: len(self._young))
        ANSWERED.watch(MOST_ANSWERED, lambda: len(self._answered))

    def take(self, packet: Packet, head: Head) -> None:
        """One message as it came or went."""
        if head.method not in (b"INVITE", b"ACK", b"BYE") or head.status == 100 or head.is_doubled:
            return
        if len(head.call_id) > _MOST_CALL_ID_BYTES:
            return
        went = self._direction(packet)
        if went is None:
            return
        # Of a request, the sender's tag is in From; of an answer, the answerer's is in To.
        ours, theirs = (b"from", b"to") if went == (not head.status) else (b"to", b"from")
        tag, other_tag = head.tag(ours), head.tag(theirs)
        with self._changed:
            if head.method == b"INVITE" and not head.status:
                self._invite(head, tag, other_tag, went)
            elif head.method == b"INVITE" and went:
                self._our_answer(packet, head, tag, other_tag)
            elif (leg := self._find(tag)) is None or leg.invite.call_id != head.call_id:
                return
            elif head.method == b"INVITE":
                self._their_answer(packet, head, leg, other_tag)
            elif head.method == b"ACK" and went:
                self._acknowledged(packet, head, leg, tag, other_tag)
            elif head.method == b"ACK":
                is_ours = (other_tag, head.number) == (leg.other_tag, leg.invite.cseq)
                leg.is_acknowledged |= is_ours and leg.answered_ms is not None
            elif head.method == b"BYE":
                self._bye(packet, head, leg, other_tag, went)

    def of(self, lines: Sequence[Line], seconds: float) -> dict[Line, WireLeg]:
        """The packets of the legs that these lines close. Waits up to `seconds` until they are complete; for no leg
        twice.
        """
        tags = {line: tag for line in lines if (tag := tag_of(line.raw))}
        if not tags:
            return {}
        until = time.monotonic() + seconds
        with self._changed:
            while self._incomplete(tags.values()) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            found = {line: self._word(tag) for line, tag in tags.items()}
        known = {line: leg for line, leg in found.items() if leg is not None}
        BY_WIRE.inc(len(known))
        BY_CHANNEL.inc(len(found) - len(known))
        return known

    def forget(self, lines: Iterable[Line]) -> None:
        """Those legs are closed, and sent."""
        with self._changed:
            for line in lines:
                if tag := tag_of(line.raw):
                    self._young.pop(tag, None)
                    self._answered.pop(tag, None)

    def unheard(self, seconds: float = UNHEARD_SECONDS) -> list[Refused]:
        """The INVITEs that were answered 487 longer than so many seconds ago, and that no line tells of: their callers
        cancelled them before the dialplan had begun. Each once. Not to be asked while lines wait to be read.
        """
        before = time.monotonic() - seconds
        found = []
        with self._changed:
            while self._cancelled and self._cancelled[0][0] < before:
                _, tag, packet = self._cancelled.popleft()
                leg = self._young.get(tag)
                if leg is None or leg.asked_for:
                    continue
                del self._young[tag]
                call_id = text_of(leg.invite.call_id, _CALL_ID_BYTES)
                reason = "Request Terminated; cancelled before the dialplan had begun"
                found.append(
                    Refused(packet.at_ms, packet.target, packet.target_port, "INVITE", _CANCELLED, reason, call_id)
                )
        return found

    def _find(self, tag: bytes) -> _Leg | None:
        return self._answered.get(tag) or self._young.get(tag)

    def _incomplete(self, tags: Iterable[bytes]) -> bool:
        legs = [leg for leg in map(self._find, tags) if leg is not None]
        return any(not (leg.is_over or leg.asked_for) for leg in legs)

    def _word(self, tag: bytes) -> WireLeg | None:
        leg = self._find(tag)
        if leg is None or leg.is_doubtful:
            return None
        leg.asked_for = True
        if leg.outbound:  # that its INVITE was refused the channel has seen itself
            return WireLeg(leg.answered_ms, leg.ended_ms, is_ended_by_us=leg.ended_by_us)
        is_unacknowledged = leg.answered_ms is not None and not leg.is_acknowledged
        return WireLeg(leg.answered_ms, leg.ended_ms, leg.final == _CANCELLED, is_unacknowledged)

    def _invite(self, head: Head, tag: bytes, other_tag: bytes, went: bool) -> None:
        if head.tag(b"to"):  # within a dialog. Of one without an answer, the answer's copy is missing
            if (leg := self._young.get(tag)) is not None:
                leg.is_doubtful = True
            return
        invite = _Invite(head.call_id, tag if went else other_tag, head.number, head.branch)
        if went and tag:
            # Sent again with credentials it has another branch.
            leg = self._young.setdefault(tag, _Leg(invite, outbound=True))
            leg.invite = invite
            self._bound()
        elif not went:
            self._invites.setdefault(invite, _Leg(invite, outbound=False))
            if len(self._invites) > MOST_YOUNG:
                self._invites.popitem(last=False)

    def _our_answer(self, packet: Packet, head: Head, tag: bytes, other_tag: bytes) -> None:
        invite = _Invite(head.call_id, other_tag, head.number, head.branch)
        leg = self._young.get(tag)
        if leg is None and tag and tag not in self._answered:
            leg = self._invites.pop(invite, None)
            if leg is not None:
                self._young[tag] = leg
                self._bound()
        if leg is None or leg.outbound or leg.invite != invite:
            return
        if head.status >= 300:
            if head.status == _CANCELLED != leg.final:
                self._cancelled.append((time.monotonic(), tag, packet._replace(payload=b"")))
            leg.final = head.status
        elif head.status >= 200 and not leg.final:
            self._has_answered(tag, leg, packet.at_ms)
        self._changed.notify_all()

    def _their_answer(self, packet: Packet, head: Head, leg: _Leg, other_tag: bytes) -> None:
        if not leg.outbound or leg.answered_ms is not None or head.status < 200:
            return
        if head.status >= 300:
            leg.final = head.status
        elif head.branch == leg.invite.branch:
            leg.came.append(_Came((other_tag, head.number), packet.at_ms, hash(packet.payload)))
        self._changed.notify_all()

    def _acknowledged(self, packet: Packet, head: Head, leg: _Leg, tag: bytes, other_tag: bytes) -> None:
        # The ACK of a refusal is of the INVITE's own transaction.
        if not leg.outbound or leg.answered_ms is not None or head.branch == leg.invite.branch:
            return
        at_ms = leg.arrival((other_tag, head.number), packet.at_ms)
        if at_ms is None:
            leg.is_doubtful = True
        else:
            leg.other_tag = other_tag
            self._has_answered(tag, leg, at_ms)
        self._changed.notify_all()

    def _has_answered(self, tag: bytes, leg: _Leg, at_ms: int) -> None:
        leg.answered_ms = at_ms
        leg.came.clear()
        self._answered[tag] = self._young.pop(tag)
        if len(self._answered) > MOST_ANSWERED:
            self._answered.popitem(last=False)
            ANSWERED.lose()

    def _bye(self, packet: Packet, head: Head, leg: _Leg, other_tag: bytes, went: bool) -> None:
        if leg.answered_ms is None or leg.is_closed or other_tag != leg.other_tag:
            return
        key = (head.number, head.branch)
        if not head.status and went:
            leg.ended_ms, leg.ended_by_us, leg.is_closed = packet.at_ms, True, True
        elif not head.status:
            leg.came.append(_Came(key, packet.at_ms, hash(packet.payload)))
        elif went and head.status < 300:
            # Without a BYE that could be read the channel's end stands: a repeat of it did not end the leg.
            leg.ended_ms, leg.is_closed = leg.arrival(key, packet.at_ms), True
        elif went:
            refused = [one for one in leg.came if one.key == key]
            for one in refused:
                leg.came.remove(one)
        self._changed.notify_all()

    def _bound(self) -> None:
        if len(self._young) > MOST_YOUNG and not self._young.popitem(last=False)[1].is_over:
            YOUNG.lose()  # one that is over was refused before the dialplan: nothing closes it


def tag_of(line: bytes) -> bytes:
    """The tag of the leg that a line of the journal closes; empty: it closes none, or one without a tag."""
    found = _CLOSED.search(line)
    return unquote_to_bytes(found[1]) if found else b""
