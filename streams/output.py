"""Sending from an agent: every message is waited for before anything is acknowledged."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

from schemas.events import DeadLetter, RatedLeg, encode_event
from schemas.frame import pack_frames, partition_of
from sinks.dead_letters import dead_letter_messages

log = structlog.get_logger(__name__)
SEND_SECONDS: Final = 60.0


class TooManyDeadLettersError(RuntimeError):
    """The worker has refused more than it may: it stops, with its offsets where they were, and drops nothing."""


class DeadLetters:
    """The way to the topic of dead letters, with a limit on how many one worker may write before it stops."""

    def __init__(self, topic: Any, partitions: int, limit: int) -> None:
        """`topic` is a Faust topic of raw bytes."""
        self._topic = topic
        self._partitions = partitions
        self._left = limit

    async def send(self, letters: list[DeadLetter]) -> None:
        """Write the letters and wait for the broker. Raises TooManyDeadLettersError before the first one too many."""
        if not letters:
            return
        if len(letters) > self._left:
            raise TooManyDeadLettersError(
                f"{len(letters)} dead letters more, {self._left} allowed: the first is {letters[0].origin}: "
                f"{letters[0].reason}"
            )
        for letter in letters:
            log.warning("dead letter", origin=letter.origin, reason=letter.reason, leg_id=letter.leg_id)
        await send_all(self._topic, dead_letter_messages(letters, self._partitions))
        self._left -= len(letters)


async def send_all(topic: Any, messages: Iterable[tuple[int, bytes]]) -> None:
    """Produce (partition, message) pairs and wait until the broker has acknowledged each."""
    sent = [await topic.send(key=None, value=message, partition=partition) for partition, message in messages]
    if sent:
        await asyncio.wait_for(asyncio.gather(*sent), SEND_SECONDS)


def rated_messages(legs: Iterable[RatedLeg], partitions: int) -> list[tuple[int, bytes]]:
    """(partition, message) for the topic of rated legs: framed, all legs of an account in one partition."""
    by_partition: dict[int, list[bytes]] = {}
    for leg in legs:
        by_partition.setdefault(partition_of(str(leg.account_id), partitions), []).append(encode_event(leg))
    return [(partition, frame) for partition, batch in by_partition.items() for frame in pack_frames(batch)]
