"""The events of the platform: one frozen structure each, versioned, JSON on the wire.

`v` is the version of that event's shape; a reader refuses one that it does not know (dead letter), it never guesses.
Times are unix milliseconds UTC (`_at_ms`); lengths say their unit. Amounts are micros, prices 10⁻⁸ per minute.
Strings that come from the wire are bounded. Golden examples: schemas/examples/.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.bill_events import DeadLetter, RatedLeg, check_rated
from schemas.call_events import (
    CallEnded,
    Closed,
    DialStatus,
    LegAnswered,
    LegEnded,
    LegRinging,
    LegStarted,
    ReleaseSide,
    check_closed,
    check_side,
)
from schemas.decision import CallRouted, CallRoutedText, Candidate, ExplainedCall, SortKey, check_routed, explained
from schemas.event_base import EventError, check_call_id
from schemas.frame import FrameError, unpack_frame
from schemas.node_events import ActiveChannel, NodeHeartbeat, NodeRestarted

__all__ = [
    "ActiveChannel", "AnyEvent", "CallEnded", "CallRouted", "CallRoutedText", "Candidate", "Closed", "DeadLetter",
    "DialStatus", "EventError", "ExplainedCall", "LegAnswered", "LegEnded", "LegRinging", "LegStarted",
    "NodeHeartbeat", "NodeRestarted", "RatedLeg", "ReleaseSide", "SortKey", "check_event", "decode_event",
    "encode_event", "explained", "readable_events",
]  # fmt: skip

AnyEvent = (
    LegStarted | LegRinging | LegAnswered | LegEnded | CallEnded | CallRouted | NodeHeartbeat | NodeRestarted
    | RatedLeg | DeadLetter
)  # fmt: skip


_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
_encoder: Final = msgspec.json.Encoder()


def decode_event(raw: bytes | msgspec.Raw) -> AnyEvent:
    """The event of its JSON bytes. Raises EventError."""
    try:
        event = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(str(error)[:500]) from error
    check_event(event)
    return event


def readable_events(message: bytes | None) -> Iterator[AnyEvent]:
    """The events of a framed message, for whoever may pass over what cannot be read: it is billing's dead letter."""
    try:
        raws = unpack_frame(message)
    except FrameError:
        return
    for raw in raws:
        try:
            yield decode_event(raw)
        except EventError:
            continue


def encode_event(event: AnyEvent | CallRoutedText | ExplainedCall) -> bytes:
    """The JSON bytes of an event."""
    return _encoder.encode(event)


def check_event(event: AnyEvent) -> None:
    """Rules that the types do not say: shapes of texts, and what spans fields. Raises EventError."""
    if isinstance(event, RatedLeg):
        check_rated(event)
    elif isinstance(event, LegEnded | CallEnded):
        check_closed(event)
    elif isinstance(event, LegStarted):
        check_call_id(event.call_id)
        check_side("facts", event.facts, "payable")
        check_side("call_facts", event.call_facts, "receivable")
    elif isinstance(event, LegRinging | LegAnswered):
        check_call_id(event.call_id)
    elif isinstance(event, CallRouted):
        check_routed(event)
    elif isinstance(event, NodeHeartbeat):
        for call in event.calls:
            check_call_id(call.call_id)
