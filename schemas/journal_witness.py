"""Asterisk's own events in the journal: what each channel did on the wire, whatever the dialplan came to.

They stand between the dialplan's lines, written by the same CEL and in the same form. The kind is Asterisk's event, the
last field the leg that the dialplan has named the channel for: of the caller's channel the call's id, of a vendor's
channel the leg's.

    "USER_DEFINED","1795609900.101321","ANSWER","","ast1-1795609861-1795609900.12"
    "USER_DEFINED","1795609941.452007","HANGUP","{""hangupcause"":16,…}","ast1-1795609861-1795609900.12/1"

The live view takes the answer from these lines, and the audit holds the dialplan's lines against them.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from schemas.events import LegAnswered, encode_event
from schemas.ids import MAX_LEGS, make_event_id, make_leg_id

WITNESS_KINDS: Final = ("ANSWER", "HANGUP")
_LINE: Final = re.compile(
    rb'"USER_DEFINED","([0-9]{1,12})\.([0-9]{1,9})","(ANSWER|HANGUP)",'
    rb'"(?:[^"\n]|"")*","([a-z][a-z0-9]{0,15}-[0-9]{10}-[0-9]{10}\.[0-9]{1,9})(?:/([0-9]{1,2}))?"(?:\r?\n)?'
)
_START: Final = b'"USER_DEFINED","'
_MARKS: Final = (b'","ANSWER","', b'","HANGUP","')
_MARK_WITHIN: Final = 64  # bytes of a line's beginning


class Witness(NamedTuple):
    """A channel was answered, or has ended. `leg`: 0 the caller's."""

    kind: Literal["answer", "hangup"]
    call_id: str
    leg: int
    at_ms: int


def is_witness(line: bytes) -> bool:
    """Whether a line is one of Asterisk's own, readable or not: it closes nothing."""
    beginning = line[:_MARK_WITHIN]
    return (_MARKS[0] in beginning or _MARKS[1] in beginning) and beginning.startswith(_START)


def read_witness(line: bytes) -> Witness | None:
    """What Asterisk's own line says; None for one that says nothing of a call of ours."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    seconds, fraction, event, call_id, leg = match.groups()
    kind: Literal["answer", "hangup"] = "answer" if event == b"ANSWER" else "hangup"
    return Witness(kind, call_id.decode(), int(leg or 0), int(seconds) * 1000 + int(fraction[:3].ljust(3, b"0")))


def answered_event(line: bytes) -> tuple[LegAnswered, bytes] | None:
    """The event of a vendor's answer, and its JSON bytes; None for any other line of Asterisk's own."""
    witness = read_witness(line)
    if witness is None or witness.kind != "answer" or not 1 <= witness.leg <= MAX_LEGS:
        return None
    event = LegAnswered(
        event_id=make_event_id(make_leg_id(witness.call_id, witness.leg), "leg_answered"),
        call_id=witness.call_id,
        leg=witness.leg,
        answered_at_ms=witness.at_ms,
    )
    return event, encode_event(event)


def witness_line(kind: str, at_seconds: str, values: Mapping[str, str]) -> bytes:
    """The line that Asterisk would write of a channel; values: call, and leg where it is a vendor's."""
    leg = f"/{values['leg']}" if values.get("leg") else ""
    return f'"USER_DEFINED","{at_seconds}","{kind}","","{values["call"]}{leg}"\n'.encode()
