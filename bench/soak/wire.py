"""SIP packets to and from a node, and the legs that they come to. Pure.

A leg is an INVITE's Call-ID. Who sent the INVITE says whose leg it is: a customer's came to the node, a vendor's left
it. A leg's talk is the time from the first 200 to its INVITE to its first BYE, as both pass the node's network card;
repeats change nothing. A BYE that the node refuses ends nothing for it, and is counted: a vendor who does not wait for
the ACK may send it before Asterisk knows of the 200, and is answered 481. A caller who never acknowledges can be sent
no BYE (RFC 3261, 15): his leg ends with that of the vendor, or by his own BYE before.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Side = Literal["customer", "vendor"]
Address = tuple[str, int]
_COMPACT: Final = {b"i": b"call-id", b"f": b"from", b"t": b"to"}
_CUSTOMER: Final = "customer"
_VENDOR: Final = "vendor"


class Packet(NamedTuple):
    """A UDP packet. `at_us`: the kernel's time, unix microseconds."""

    at_us: int
    source: Address
    target: Address
    payload: bytes


class Message(NamedTuple):
    """A SIP message. `method` of a response is that of the request it answers; `status` of a request is 0."""

    at_us: int
    source: Address
    target: Address
    call_id: str
    method: str
    status: int
    number: str  # of a request's URI


class WireLeg(NamedTuple):
    """A leg as the wire shows it. `final`: the first final answer to its INVITE, 0 if there was none."""

    call_id: str
    side: Side
    peer: Address
    number: str
    invited_us: int
    final: int = 0
    answered_us: int | None = None
    ended_us: int | None = None
    ended_by: Literal["", "node", "peer"] = ""
    refused_byes: int = 0
    cancelled_us: int | None = None
    acknowledged: bool = False  # of a customer's leg: the caller's ACK to the 200 has come

    @property
    def talk_ms(self) -> float | None:
        """From answer to end; None while there is not both."""
        if self.answered_us is None or self.ended_us is None:
            return None
        return (self.ended_us - self.answered_us) / 1000


def read_message(packet: Packet) -> Message | None:
    """The SIP message in a packet; None for what is none (keep-alives, media)."""
    head = packet.payload.partition(b"\r\n\r\n")[0].split(b"\r\n")
    first = head[0].split(b" ")
    if len(first) < 3 or not (first[0] == b"SIP/2.0" or first[-1] == b"SIP/2.0"):
        return None
    headers: dict[bytes, bytes] = {}
    for line in head[1:]:
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        headers.setdefault(_COMPACT.get(name, name), value.strip())
    call_id = headers.get(b"call-id", b"").decode("utf-8", "replace")
    if first[0] == b"SIP/2.0":
        method = headers.get(b"cseq", b"").split(b" ")[-1].decode("ascii", "replace")
        status, number = int(first[1]), ""
    else:
        method, status = first[0].decode("ascii", "replace"), 0
        number = first[1].partition(b":")[2].partition(b"@")[0].decode("utf-8", "replace")
    return Message(packet.at_us, packet.source, packet.target, call_id, method, status, number)


def legs_of(messages: Iterable[Message], node: Address) -> dict[str, WireLeg]:
    """The legs by Call-ID, of messages in the order of their time. `node`: where the node's SIP listens."""
    legs: dict[str, WireLeg] = {}
    for message in messages:
        leg = legs.get(message.call_id)
        if leg is None:
            if (message.method, message.status) == ("INVITE", 0):
                legs[message.call_id] = _begin(message, node)
            continue
        legs[message.call_id] = _go_on(leg, message, node)
    return _with_vendors_ends(legs)


def _with_vendors_ends(legs: dict[str, WireLeg]) -> dict[str, WireLeg]:
    """Legs of callers who never acknowledged, by the end of their call's vendor. A number is dialled once."""
    ends = {
        leg.number: leg.ended_us for leg in legs.values() if leg.side == _VENDOR and leg.answered_us and leg.ended_us
    }
    ended = dict(legs)
    for call_id, leg in legs.items():
        end_us = ends.get(leg.number)
        if leg.side == _VENDOR or leg.acknowledged or leg.answered_us is None or end_us is None:
            continue
        if leg.ended_us is None or end_us < leg.ended_us:
            ended[call_id] = leg._replace(ended_us=max(end_us, leg.answered_us), ended_by="node")
    return ended


def _begin(message: Message, node: Address) -> WireLeg:
    if message.source == node:
        return WireLeg(message.call_id, _VENDOR, message.target, message.number, message.at_us)
    return WireLeg(message.call_id, _CUSTOMER, message.source, message.number, message.at_us)


def _go_on(leg: WireLeg, message: Message, node: Address) -> WireLeg:
    by_node = message.source == node
    if message.method == "INVITE" and message.status >= 200 and by_node == (leg.side == _CUSTOMER):
        if not leg.final:
            leg = leg._replace(final=message.status)
        if message.status < 300 and leg.answered_us is None:
            leg = leg._replace(answered_us=message.at_us)
    elif (message.method, message.status) == ("BYE", 0) and leg.ended_us is None:
        leg = leg._replace(ended_us=message.at_us, ended_by="node" if by_node else "peer")
    elif (message.method, message.status) == ("CANCEL", 0) and leg.cancelled_us is None:
        leg = leg._replace(cancelled_us=message.at_us)
    elif (message.method, message.status) == ("ACK", 0) and not by_node and leg.answered_us is not None:
        leg = leg._replace(acknowledged=True)
    elif message.method == "BYE" and message.status >= 300 and by_node and leg.ended_by == "peer":
        leg = leg._replace(ended_us=None, ended_by="", refused_byes=leg.refused_byes + 1)
    return leg


def max_up(legs: Iterable[WireLeg]) -> int:
    """The most legs of customers that were answered and not ended at one time."""
    changes: list[tuple[int, int]] = []
    for leg in legs:
        if leg.side == _CUSTOMER and leg.answered_us is not None:
            changes.append((leg.answered_us, 1))
            if leg.ended_us is not None:
                changes.append((leg.ended_us, -1))
    most = up = 0
    for _, change in sorted(changes):
        up += change
        most = max(most, up)
    return most
