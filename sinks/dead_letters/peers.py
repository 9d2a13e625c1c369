"""Which peer a dead letter belongs to: the one whose calls would make the next ones. Pure.

A rated leg that the ledger refuses is its account's matter: the customer's of an inbound leg, the vendor's of an
outbound one. Whatever cannot be read on the way there came with the call: the customer's. What names nobody is
nobody's.
"""

import re
from typing import Final

import msgspec

from schemas.events import DeadLetter
from schemas.topics import RATED_LEGS
from sinks.dead_letters.messages import raw_of

NOBODY: Final = 0
_MAX_ID: Final = 2**31 - 1
# In a journal line: facts=1;r;GENERATION;CUSTOMER COMPANY;CUSTOMER PEER;…
_IN_LINE: Final = re.compile(rb"\|(?:c?facts|last)=[0-9]+;[rp];[0-9]*;[0-9]*;([0-9]{1,10});")


class _Facts(msgspec.Struct):
    customer_peer_id: int = NOBODY
    vendor_peer_id: int = NOBODY


class _Told(msgspec.Struct):
    """The little that is looked for in an event, readable or not."""

    side: str = ""
    customer_peer_id: int = NOBODY
    facts: _Facts | None = None
    call_facts: _Facts | None = None
    ended: "_Told | None" = None


_decoder: Final = msgspec.json.Decoder(_Told)


def peer_of(letter: DeadLetter) -> int:
    """The peer's id, or NOBODY. A whole message that could not be opened is nobody's: it is of many calls."""
    if letter.origin.endswith("/frame"):
        return NOBODY
    raw = raw_of(letter)
    found = _in_line(raw) if letter.origin.startswith("journal:") else _in_event(raw, letter.origin)
    return found if 0 < found <= _MAX_ID else NOBODY


def _in_line(raw: bytes) -> int:
    matched = _IN_LINE.search(raw)
    return int(matched[1]) if matched is not None else NOBODY


def _in_event(raw: bytes, origin: str) -> int:
    try:
        told = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NOBODY
    ended = told.ended or told
    facts = ended.facts or ended.call_facts
    if facts is None:
        return told.customer_peer_id
    is_vendors = origin.startswith(f"{RATED_LEGS.name}/") and told.side == "payable"
    return facts.vendor_peer_id if is_vendors else facts.customer_peer_id
