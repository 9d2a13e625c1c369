"""What Asterisk's manager interface says, read: events of calls, and the calls that are really there. Pure.

The dialplan names each channel of a call in its account code: the customer's by the call's id, a vendor's by the leg's.
What has another node's, or none, is not ours. Channel variables would be dear: where manager.conf names any, Asterisk
sends the channel's whole state around once more for each variable that a call sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.events import ActiveChannel, LegRinging
from schemas.ids import CALL_ID_PATTERN, MAX_LEGS, make_event_id, make_leg_id

_OLD_VARIABLES: Final = ("CALL_ID", "LEG_N")  # of an Asterisk that goes on with files from before the account codes
FACTS_VARIABLES: Final = ("DECISION", "CALL_FACTS")  # asked for only where a call has no hold: they are long
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


class CallAnswered(NamedTuple):
    """The customer's channel of a call is up, since then by Asterisk's wall clock."""

    call_id: str
    at_ms: int


class Seen(NamedTuple):
    """The calls of one status, asked at `at_ms` of the agent's monotonic clock.

    `names`: the customers' channels. `answered_at_ms`: of the answered calls, on the monotonic clock.
    `unanswered_at_ms`: when a call that was not answered was last seen so. `facts`: of the calls that were asked for
    theirs and were allowed.
    """

    at_ms: int
    calls: list[ActiveChannel]
    names: dict[str, str]
    answered_at_ms: dict[str, int]
    unanswered_at_ms: dict[str, int]
    facts: dict[str, str]

    @property
    def talk_seconds(self) -> dict[str, int]:
        """Whole seconds of talk of the answered calls."""
        return {call_id: max(0, self.at_ms - at_ms) // 1000 for call_id, at_ms in self.answered_at_ms.items()}


def variables_of(headers: Headers, names: Sequence[str]) -> dict[str, str]:
    """The channel variables of these names that a message carries."""
    found: dict[str, str] = {}
    for header in ("variable", "chanvariable"):
        values = headers.get(header, "")
        for text in values if isinstance(values, list) else [values]:
            name, equals, value = str(text).partition("=")
            if equals and name in names and not found.get(name):
                found[name] = "" if value == "(null)" else value
    return found


def channel_of(node: str, headers: Headers) -> Channel | None:
    """The call and leg that a channel belongs to; None if it is none of this node's calls."""
    call_id, slash, leg = (str(headers.get("accountcode") or "") or _old_name(headers)).partition("/")
    matched = CALL_ID_PATTERN.fullmatch(call_id)
    if matched is None or matched[1] != node:
        return None
    if not slash:
        return Channel(call_id, 0)
    if not (leg.isascii() and leg.isdigit() and len(leg) <= 2 and 1 <= int(leg) <= MAX_LEGS):
        return None
    return Channel(call_id, int(leg))


def _old_name(headers: Headers) -> str:
    """The account code that a channel would have, by its variables."""
    variables = variables_of(headers, _OLD_VARIABLES)
    call_id, leg = variables.get("CALL_ID", ""), variables.get("LEG_N", "")
    return f"{call_id}/{leg}" if leg else call_id


def read_event(node: str, headers: Headers, now_ms: int) -> LegRinging | CallAnswered | CallGone | None:
    """What an event means here: a vendor's channel rings, a customer's is answered or gone, or nothing."""
    kind = str(headers.get("event", "")).lower()
    if kind not in ("newstate", "hangup"):
        return None
    channel = channel_of(node, headers)
    if channel is None:
        return None
    if kind == "hangup":
        return CallGone(channel.call_id) if channel.leg == 0 else None
    if channel.leg == 0 and headers.get("channelstate") == _UP:
        return CallAnswered(channel.call_id, stamp_ms(headers.get("timestamp"), now_ms))
    if channel.leg == 0 or headers.get("channelstate") != _RINGING:
        return None
    return LegRinging(
        event_id=make_event_id(make_leg_id(channel.call_id, channel.leg), "leg_ringing"),
        call_id=channel.call_id,
        leg=channel.leg,
        ringing_at_ms=stamp_ms(headers.get("timestamp"), now_ms),
    )


def responder_of(node: str, headers: Headers) -> str:
    """The endpoint of a vendor whose channel has begun to ring, or is answered: it has sent a response. Else empty."""
    if str(headers.get("event", "")).lower() != "newstate" or headers.get("channelstate") not in (_RINGING, _UP):
        return ""
    channel = channel_of(node, headers)
    if channel is None or channel.leg == 0:
        return ""
    return str(headers.get("channel", "")).removeprefix("PJSIP/").rpartition("-")[0]


def fold_status(
    node: str, channels: Iterable[Headers], last: Seen | None, answers: Mapping[str, int], monotonic_ms: int
) -> Seen:
    """The calls that are really there, of the channels that Status listed; `last` is the status before.

    `answers`: when calls were answered that no status has shown so yet, on the monotonic clock, which was read when the
    status was asked for. Where that is not known (AMI was away), a call has talked since it was last known unanswered:
    never too short.
    """
    seen = Seen(monotonic_ms, [], {}, {}, {}, {})
    ages: dict[str, tuple[Headers, bool]] = {}
    legs: dict[str, int] = {}
    for headers in channels:
        channel = channel_of(node, headers)
        if channel is None:
            continue
        if channel.leg == 0:
            ages[channel.call_id] = headers, headers.get("channelstate") == _UP
        else:
            legs[channel.call_id] = max(legs.get(channel.call_id, 0), channel.leg)
    for call_id, (headers, answered) in ages.items():
        seen.names[call_id] = str(headers.get("channel", ""))
        values = variables_of(headers, FACTS_VARIABLES)
        talk_seconds = 0
        if answered:
            at_ms = last.answered_at_ms.get(call_id) if last is not None else None
            if at_ms is None:
                at_ms = answers.get(call_id)
            if at_ms is None:
                at_ms = monotonic_ms - _most_talk_ms(call_id, headers, last, monotonic_ms)
            seen.answered_at_ms[call_id] = at_ms
            talk_seconds = max(0, monotonic_ms - at_ms) // 1000
        else:
            seen.unanswered_at_ms[call_id] = monotonic_ms
        if values.get("DECISION") == "ALLOW" and values.get("CALL_FACTS"):
            seen.facts[call_id] = values["CALL_FACTS"]
        leg = legs.get(call_id, 0)
        seen.calls.append(ActiveChannel(call_id=call_id, leg=leg, answered=answered, seconds=talk_seconds))
    return seen


def _most_talk_ms(call_id: str, headers: Headers, last: Seen | None, monotonic_ms: int) -> int:
    if last is not None:
        return monotonic_ms - last.unanswered_at_ms.get(call_id, last.at_ms)
    return (_whole(headers.get("seconds")) + 1) * 1000


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
