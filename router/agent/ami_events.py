"""What Asterisk's manager interface says, read: events of calls, and the calls that are really there. Pure.

Every channel of a call carries the variables CALL_ID and LEG_N (empty on the customer's channel). What carries neither,
or another node's call, is not ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.events import ActiveChannel, LegRinging
from schemas.ids import CALL_ID_PATTERN, MAX_LEGS, make_event_id, make_leg_id

VARIABLES: Final = ("CALL_ID", "LEG_N")
_RINGING: Final = "5"
_UP: Final = "6"
Headers = Mapping[str, Any]  # a header's text, or the texts of one that is repeated


class Channel(NamedTuple):
    """Whose a channel is: `leg` is 0 on the customer's."""

    call_id: str
    leg: int


class CallGone(NamedTuple):
    """The customer's channel of a call has been hung up."""

    call_id: str


class Seen(NamedTuple):
    """The calls of one status. `talk_seconds`: of the answered ones. `before_answer`: age when last seen unanswered."""

    calls: list[ActiveChannel]
    talk_seconds: dict[str, int]
    before_answer: dict[str, int]


def channel_of(node: str, headers: Headers) -> Channel | None:
    """The call and leg that a channel belongs to; None if it is none of this node's calls."""
    variables: dict[str, str] = {}
    for header in ("variable", "chanvariable"):
        values = headers.get(header, "")
        for text in values if isinstance(values, list) else [values]:
            name, equals, value = str(text).partition("=")
            if equals and name in VARIABLES and not variables.get(name):
                variables[name] = "" if value == "(null)" else value
    call_id, leg = variables.get("CALL_ID", ""), variables.get("LEG_N", "")
    matched = CALL_ID_PATTERN.fullmatch(call_id)
    if matched is None or matched[1] != node:
        return None
    if not leg:
        return Channel(call_id, 0)
    if not (leg.isascii() and leg.isdigit() and len(leg) <= 2 and 1 <= int(leg) <= MAX_LEGS):
        return None
    return Channel(call_id, int(leg))


def read_event(node: str, headers: Headers, now_ms: int) -> LegRinging | CallGone | None:
    """What an event means here: a vendor's channel rings, a customer's is gone, or nothing."""
    kind = str(headers.get("event", "")).lower()
    if kind not in ("newstate", "hangup"):
        return None
    channel = channel_of(node, headers)
    if channel is None:
        return None
    if kind == "hangup":
        return CallGone(channel.call_id) if channel.leg == 0 else None
    if channel.leg == 0 or headers.get("channelstate") != _RINGING:
        return None
    return LegRinging(
        event_id=make_event_id(make_leg_id(channel.call_id, channel.leg), "leg_ringing"),
        call_id=channel.call_id,
        leg=channel.leg,
        ringing_at_ms=stamp_ms(headers.get("timestamp"), now_ms),
    )


def fold_status(node: str, channels: Iterable[Headers], before_answer: Mapping[str, int]) -> Seen:
    """The calls that are really there, of the channels that Status listed. `before_answer` is the last status's.

    A channel's age counts from its creation, so talk is taken as its age less its age when it was last seen
    unanswered: never too short, and too long by no more than the time between two statuses (or since the agent began).
    """
    ages: dict[str, int] = {}
    answered: dict[str, bool] = {}
    legs: dict[str, int] = {}
    for headers in channels:
        channel = channel_of(node, headers)
        if channel is None:
            continue
        if channel.leg == 0:
            ages[channel.call_id] = _whole(headers.get("seconds"))
            answered[channel.call_id] = headers.get("channelstate") == _UP
        else:
            legs[channel.call_id] = max(legs.get(channel.call_id, 0), channel.leg)
    calls = []
    talk: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for call_id, age in ages.items():
        waiting[call_id] = before_answer.get(call_id, 0) if answered[call_id] else age
        seconds = max(0, age - waiting[call_id]) if answered[call_id] else 0
        if answered[call_id]:
            talk[call_id] = seconds
        calls.append(
            ActiveChannel(call_id=call_id, leg=legs.get(call_id, 0), answered=answered[call_id], seconds=seconds)
        )
    return Seen(calls, talk, waiting)


def status_channels(answer: Sequence[Headers]) -> list[Headers]:
    """The channels of the answer to Status: it begins with a response and ends with StatusComplete."""
    return [headers for headers in answer if str(headers.get("event", "")).lower() == "status"]


def stamp_ms(text: object, otherwise_ms: int) -> int:
    """Asterisk's `Timestamp: seconds.micros`, where a message has one."""
    seconds, _, fraction = str(text or "").partition(".")
    if len(seconds) == 10 and seconds.isdecimal() and seconds.isascii() and fraction.isascii() and fraction.isdecimal():
        return int(seconds) * 1000 + int(fraction[:3].ljust(3, "0"))
    return otherwise_ms


def _whole(text: object) -> int:
    digits = str(text or "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 8 else 0
