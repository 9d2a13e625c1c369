"""Legs on the wire against closed legs, one by one by SIP Call-ID. Pure.

Every leg that was answered on the wire is to be one answered leg of ours, and the other way round, with the same talk
time. A second of talk begun is a second to be paid: so of what differs, what counts in the end is `billed_otherwise`.

Where CANCEL and 200 cross, Asterisk and the wire may say different things, and no dialplan can know it: a vendor's 200
to a call that we have just cancelled is acknowledged and ended by Asterisk without a channel; and a caller's CANCEL
that is answered 487 while the vendor's 200 is already at work on the caller's channel leaves a channel that was
answered. Such legs are `crossed`: there must be one closed leg of theirs, answered or not, and they are counted apart.
Where Asterisk has the 200 unread when it gives up, no CANCEL is sent: the node ends a leg of a customer who never had
an answer.

    vendor    INVITE →   CANCEL →   ← 200   ACK →   BYE →      answered on the wire, not answered in the CDR
    customer  → INVITE   (vendor's 200)   → CANCEL   ← 487     not answered on the wire, answered in the CDR
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from bench.figures import percentile
from bench.soak.wire import Side, WireLeg
from schemas.events import CallEnded, RatedLeg

SIDES: Final[tuple[Side, Side]] = ("customer", "vendor")


class ClosedLeg(NamedTuple):
    """A leg as we have closed and billed it."""

    sip_call_id: str
    side: Side
    leg_id: str
    answered: bool
    duration_ms: int
    billed_seconds: int


class Pair(NamedTuple):
    """An answered leg that both sides know."""

    wire: WireLeg
    closed: ClosedLeg

    @property
    def difference_ms(self) -> float | None:
        """How much longer our talk time is; None where the wire shows no end."""
        talk_ms = self.wire.talk_ms
        return None if talk_ms is None else self.closed.duration_ms - talk_ms


class Matched(NamedTuple):
    """What came of one side's legs."""

    side: Side
    wire: int  # answered on the wire
    closed: int  # answered as we have them
    pairs: list[Pair]
    only_wire: list[WireLeg]
    only_closed: list[ClosedLeg]
    crossed: list[WireLeg]  # a CANCEL crossed the answer, and only one side has the answer
    repeated: list[str]  # Call-IDs of which there is more than one closed leg

    @property
    def ok(self) -> bool:
        """Each is there once on both sides, but for what a CANCEL crossed."""
        return not (self.only_wire or self.only_closed or self.repeated)

    @property
    def differences_ms(self) -> list[float]:
        """Of all pairs whose end the wire shows."""
        return [pair.difference_ms for pair in self.pairs if pair.difference_ms is not None]


def closed_leg(leg: RatedLeg) -> ClosedLeg:
    """A rated leg as it is matched."""
    ended = leg.ended
    side: Side = "customer" if isinstance(ended, CallEnded) else "vendor"
    answered = ended.answered_at_ms is not None
    return ClosedLeg(ended.sip_call_id, side, leg.leg_id, answered, ended.duration_ms, leg.billed_seconds)


def match(side: Side, wire: Iterable[WireLeg], closed: Iterable[ClosedLeg]) -> Matched:
    """The legs of one side; those of the other are passed over.

    A leg that no INVITE was sent for has no Call-ID, and was not answered.
    """
    ours = [leg for leg in closed if leg.side == side]
    repeated = [
        call_id
        for call_id, times in Counter(leg.sip_call_id for leg in ours if leg.answered or leg.sip_call_id).items()
        if times > 1
    ]
    answered = {leg.sip_call_id: leg for leg in ours if leg.answered}
    legs = list(wire)
    theirs = [leg for leg in legs if leg.side == side]
    seen = {leg.call_id: leg for leg in theirs if leg.answered_us is not None}
    talked = {leg.number for leg in legs if leg.side == "customer" and leg.answered_us is not None}
    closed_ids = {leg.sip_call_id for leg in ours}
    crossed = {
        leg.call_id: leg
        for leg in theirs
        if leg.call_id in closed_ids
        and (leg.call_id in seen) != (leg.call_id in answered)
        and (leg.cancelled_us is not None or (side == "vendor" and leg.ended_by == "node" and leg.number not in talked))
    }
    return Matched(
        side=side,
        wire=len(seen),
        closed=sum(leg.answered for leg in ours),
        pairs=[Pair(leg, answered[call_id]) for call_id, leg in seen.items() if call_id in answered],
        only_wire=[leg for call_id, leg in seen.items() if call_id not in answered.keys() | crossed.keys()],
        only_closed=[leg for call_id, leg in answered.items() if call_id not in seen.keys() | crossed.keys()],
        crossed=list(crossed.values()),
        repeated=sorted(repeated),
    )


def whole_seconds(talk_ms: float, minimum_seconds: int = 1) -> int:
    """What so much talk is billed by a pack of 1/1: each second begun."""
    return max(minimum_seconds, math.ceil(talk_ms / 1000))


def billed_otherwise(pairs: Iterable[Pair], slack_ms: float) -> list[Pair]:
    """Pairs billed by other seconds than the wire's talk makes, where it is not within `slack_ms` of a whole second."""
    found = []
    for pair in pairs:
        talk_ms = pair.wire.talk_ms
        if talk_ms is None:
            continue
        allowed = {whole_seconds(max(0.0, talk_ms + slack)) for slack in (-slack_ms, 0.0, slack_ms)}
        if pair.closed.billed_seconds not in allowed:
            found.append(pair)
    return found


def figures(sides: Sequence[Matched]) -> dict[str, Any]:
    """Counts and talk differences for the line of JSON."""
    found: dict[str, Any] = {}
    for one in sides:
        sizes = [abs(difference) for difference in one.differences_ms]
        found[one.side] = {
            "answered_on_the_wire": one.wire,
            "answered_legs": one.closed,
            "matched": len(one.pairs),
            "only_on_the_wire": len(one.only_wire),
            "only_in_cdrs": len(one.only_closed),
            "repeated": len(one.repeated),
            "crossed_cancel": len(one.crossed),
            "crossed_talk_max_ms": round(max((leg.talk_ms or 0.0 for leg in one.crossed), default=0.0), 1),
            "byes_refused": sum(pair.wire.refused_byes > 0 for pair in one.pairs),
            "without_bye": len(one.pairs) - len(sizes),
            "talk_difference_p50_ms": round(percentile(sizes, 0.5), 1) if sizes else None,
            "talk_difference_p99_ms": round(percentile(sizes, 0.99), 1) if sizes else None,
            "talk_difference_max_ms": round(max(sizes), 1) if sizes else None,
        }
    return found
