"""From a Kafka message to its events: what cannot be read becomes a dead letter of its own, its neighbours go on."""

import base64
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from schemas import events, ids
from schemas.frame import FrameError, unpack_frame
from sinks.dead_letters.messages import CUT_MARK

# Of a dead letter. An event has about a thousand bytes; what is longer is kept up to here, and its reason says so.
MAX_RAW_BYTES: Final = 262_144


class Origin(NamedTuple):
    """Where a message stands in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Numbered(NamedTuple):
    """An event with its place, so that a later refusal can still say where it came from."""

    message: Origin
    position: int  # in the message
    raw: msgspec.Raw
    event: events.AnyEvent

    @property
    def origin(self) -> str:
        """Where it came from, as a dead letter says it."""
        return f"{self.message}/{self.position}"


class Message(NamedTuple):
    """What one message held: the events that could be read, and a dead letter for each that could not."""

    good: list[Numbered]
    dead: list[events.DeadLetter]


def read_message(message: bytes | None, origin: Origin, now_ms: int) -> Message:
    """The events of a framed message. `now_ms` is stamped on the dead letters."""
    try:
        raws = unpack_frame(message)
    except FrameError as error:
        return Message([], [dead_letter(f"{origin}/frame", message or b"", str(error), now_ms)])
    good: list[Numbered] = []
    dead: list[events.DeadLetter] = []
    for index, raw in enumerate(raws):
        try:
            good.append(Numbered(origin, index, raw, events.decode_event(raw)))
        except events.EventError as error:
            dead.append(dead_letter(f"{origin}/{index}", raw, str(error), now_ms, leg_told(bytes(raw))))
    return Message(good, dead)


_Wanted = TypeVar("_Wanted")


class Sorted(NamedTuple, Generic[_Wanted]):
    """What one message held of the events that are wanted; a dead letter for all else."""

    found: list[tuple[Numbered, _Wanted]]
    dead: list[events.DeadLetter]


def split_by_type(
    message: bytes | None,
    origin: Origin,
    now_ms: int,
    wanted: type[_Wanted] | tuple[type[_Wanted], ...],
    what: str,
    ignored: tuple[type[events.AnyEvent], ...] = (),
) -> Sorted[_Wanted]:
    """The events of a framed message that are `wanted`, with their places. `ignored` are passed over.

    Everything else is a dead letter: "LegEnded: not WHAT".
    """
    read = read_message(message, origin, now_ms)
    found: list[tuple[Numbered, _Wanted]] = []
    dead = read.dead
    for place in read.good:
        if isinstance(place.event, wanted):
            found.append((place, place.event))
        elif not isinstance(place.event, ignored):
            reason = f"{type(place.event).__name__}: not {what}"
            dead.append(dead_letter(place.origin, place.raw, reason, now_ms))
    return Sorted(found, dead)


class _Told(msgspec.Struct):
    """The little that is looked for in an event that cannot be read."""

    type: str = ""
    call_id: str = ""
    leg: int = 0
    leg_id: str = ""


_told_decoder: Final = msgspec.json.Decoder(_Told)


def leg_told(raw: bytes) -> str:
    """The id of the leg that an unreadable event closes or bills, where it can still be told; else empty."""
    try:
        told = _told_decoder.decode(raw)
        if told.type == "rated_leg":
            ids.split_leg_id(told.leg_id)
            return told.leg_id[:64]
        if told.type in ("leg_ended", "call_ended"):
            return ids.make_leg_id(ids.check_call_id(told.call_id), told.leg if told.type == "leg_ended" else 0)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ids.IdError):
        return ""
    return ""


def dead_letter(
    origin: str, content: bytes | msgspec.Raw, reason: str, now_ms: int, leg_id: str = ""
) -> events.DeadLetter:
    """A dead letter that keeps the raw bytes, the reason and the origin."""
    raw = bytes(content)
    if len(raw) > MAX_RAW_BYTES:
        reason = f"{CUT_MARK}{MAX_RAW_BYTES} of {len(raw)} bytes kept] {reason}"
    return events.DeadLetter(
        event_id=origin[:96],
        origin=origin[:256],
        reason=reason[:1024],
        raw_base64=base64.b64encode(raw[:MAX_RAW_BYTES]).decode(),
        at_ms=now_ms,
        leg_id=leg_id,
    )
