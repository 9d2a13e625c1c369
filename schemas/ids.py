"""Names of nodes, calls, legs and events. They are made without any server, and sort by time within a node.

    call_id   NODE-EPOCH-UNIQUEID   ast1-1795609861-1795609900.12
    leg_id    call_id/n             n = 0 inbound, 1… the attempts in hunt order
    event_id  leg_id:kind           the same event read twice, from anywhere, has the same id

NODE is Asterisk's `systemname`; EPOCH is the start of that Asterisk in unix seconds, issued once and never again;
UNIQUEID is Asterisk's own (seconds.sequence, without the systemname that Asterisk puts before it).
"""

import re
from typing import Final

NODE_PATTERN: Final = re.compile(r"[a-z][a-z0-9]{0,15}", re.ASCII)
CALL_ID_PATTERN: Final = re.compile(r"([a-z][a-z0-9]{0,15})-([0-9]{10})-([0-9]{10}\.[0-9]{1,9})", re.ASCII)
MAX_LEGS: Final = 32


class IdError(ValueError):
    """A text that is not the id it should be."""


def make_call_id(node: str, epoch: int, unique_id: str) -> str:
    """The call's id from its parts; `unique_id` is seconds.sequence. Raises IdError."""
    return check_call_id(f"{node}-{epoch:010d}-{unique_id}")


def check_call_id(call_id: str) -> str:
    """The same id if it is one; raises IdError else."""
    if CALL_ID_PATTERN.fullmatch(call_id) is None:
        raise IdError(f"call_id {call_id!r}: must be NODE-EPOCH-SECONDS.SEQUENCE")
    return call_id


def node_of(call_id: str) -> str:
    """The node that a call's id names."""
    return check_call_id(call_id).split("-", 1)[0]


def epoch_of(call_id: str) -> int:
    """The start of Asterisk (unix seconds) that a call's id names."""
    return int(check_call_id(call_id).split("-", 2)[1])


def started_seconds_of(call_id: str) -> int:
    """The second (unix) at which the call's channel was made."""
    return int(check_call_id(call_id).split("-", 2)[2].partition(".")[0])


def make_leg_id(call_id: str, leg: int) -> str:
    """The id of leg `leg` of a call (0 inbound). Raises IdError out of 0…MAX_LEGS."""
    if not 0 <= leg <= MAX_LEGS:
        raise IdError(f"leg {leg}: must be from 0 to {MAX_LEGS}")
    return f"{call_id}/{leg}"


def split_leg_id(leg_id: str) -> tuple[str, int]:
    """(call_id, leg number) of a leg's id. Raises IdError."""
    call_id, slash, number = leg_id.rpartition("/")
    if not slash or not (number.isascii() and number.isdigit()):
        raise IdError(f"leg_id {leg_id!r}: must be CALL_ID/NUMBER")
    return check_call_id(call_id), int(number)


def make_event_id(leg_id: str, kind: str) -> str:
    """The id of the event `kind` of a leg: never a byte offset, so that a replay makes the same one."""
    return f"{leg_id}:{kind}"
