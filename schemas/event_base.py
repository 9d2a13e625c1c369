"""What every event has, whatever it tells of: a version, an id, and fields whose bounds are the same everywhere."""

from typing import Annotated, Final, Literal

import msgspec

from schemas.ids import CALL_ID_PATTERN

EVENT_VERSION: Final = 1

CallId = Annotated[str, msgspec.Meta(max_length=48)]  # its shape is judged by check_call_id, as Digits' by check_event
Node = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{0,15}$")]
AtMs = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]  # up to the year 2100
LengthMs = Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400_000)]
Cause = Annotated[int, msgspec.Meta(ge=0, le=127)]
Leg = Annotated[int, msgspec.Meta(ge=1, le=32)]
Short = Annotated[str, msgspec.Meta(max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=256)]
Micros = Annotated[int, msgspec.Meta(ge=-(10**18), le=10**18)]
Version = Literal[1]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What all events have: a type (the tag), a version, and an id that a remake of the event has too.

    No event can refer to itself, so the collector of cycles need not look at them (gc=False).
    """

    v: Version = 1
    event_id: Annotated[str, msgspec.Meta(max_length=96)]


class EventError(ValueError):
    """Bytes that are no event of a known type and version, or hold an impossible value: says which field and rule."""


def check_call_id(call_id: str) -> None:
    """Its shape. Raises EventError."""
    if CALL_ID_PATTERN.fullmatch(call_id) is None:
        raise EventError(f"call_id {call_id!r}: must be NODE-EPOCH-SECONDS.SEQUENCE")
