"""The stored decision of a call, read back. Pure."""

import msgspec

from schemas.events import CallRouted, EventError, decode_event


def read_decision(text: str | None) -> CallRouted | None:
    """The decision, if there is one that can be read."""
    if not text:
        return None
    try:
        event = decode_event(text.encode())
    except (EventError, msgspec.MsgspecError):
        return None
    return event if isinstance(event, CallRouted) else None
