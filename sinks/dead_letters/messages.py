"""Dead letters: what could not be processed goes to its topic, whole, waited for before anything is acknowledged."""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

from schemas.events import DeadLetter, encode_event
from schemas.frame import pack_partitions

CUT_MARK: Final = "[first "  # so begins the reason of a letter of which only the beginning was kept


def dead_letter_messages(letters: Iterable[DeadLetter], partitions: int) -> list[tuple[int, bytes]]:
    """(partition, message) for the topic of dead letters: framed, placed by origin."""
    return pack_partitions(((letter.origin, encode_event(letter)) for letter in letters), partitions)


def raw_of(letter: DeadLetter) -> bytes:
    """The bytes that a letter keeps; where they are no base64, nobody knows what they were: what stands there."""
    try:
        return base64.b64decode(letter.raw_base64, validate=True)
    except (binascii.Error, ValueError):
        return letter.raw_base64.encode("utf-8", "replace")
