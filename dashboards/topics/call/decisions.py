"""The stored decision of a call, read back. Pure."""

import msgspec

from schemas.events import CallRouted, EventError, ExplainedCall, decode_event, explained


def read_decision(text: str | None) -> ExplainedCall | None:
    """The decision, if there is one that can be read."""
    if not text:
        return None
    try:
        event = decode_event(text.encode())
        return explained(event) if isinstance(event, CallRouted) else None
    except (EventError, msgspec.MsgspecError):
        return None
