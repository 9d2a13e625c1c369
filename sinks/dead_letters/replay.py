"""Dead letters sent again: through the same door as at first, so that the same rules judge them.

A journal line is decoded and its event goes to `calls`; an event goes to the topic that it was read from, in a frame of
its own, to the partition of its key; a message that was no frame goes back as it is, to its own partition. What is
refused again is a dead letter again, with the origin of its new place.
"""

from typing import Final, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from runtime.connections import Kafka
from runtime.topics import TopicError, require_reachable
from schemas.events import (
    AnyEvent,
    DeadLetter,
    EventError,
    NodeHeartbeat,
    NodeRestarted,
    RatedLeg,
    decode_event,
    encode_event,
)
from schemas.frame import pack_frames, partition_of
from schemas.journal import JournalError, decode_line
from schemas.topics import CALLS, DECISIONS, NODES, RATED_LEGS
from sinks.dead_letters.messages import CUT_MARK
from sinks.dead_letters.store import KeptLetter, LetterError

SEND_SECONDS: Final = 30.0
_TOPICS: Final = {topic.name for topic in (CALLS, RATED_LEGS, DECISIONS, NODES)}


class Resent(NamedTuple):
    """The Kafka message that a letter is sent again as."""

    topic: str
    partition: int
    value: bytes


def plan_replay(letter: KeptLetter, partitions: int) -> Resent:
    """What to send for a letter. Pure. Raises LetterError where there is nothing that could be sent."""
    if letter.reason.startswith(CUT_MARK):
        raise LetterError(f"{letter.origin}: only its beginning was kept: mend its source, and discard it")
    if letter.source == "journal":
        try:
            event = decode_line(letter.raw)
        except JournalError as error:
            raise LetterError(f"{letter.origin}: still no line of the journal: {error}") from error
        if event is None:
            raise LetterError(f"{letter.origin}: a line of Asterisk's own, which makes no event: discard it")
        return Resent(CALLS.name, partition_of(event.call_id, partitions), pack_frames([encode_event(event)])[0])
    topic, partition, index = _place(letter)
    if not 0 <= partition < partitions:
        raise LetterError(f"{letter.origin}: topic {topic} has no partition {partition} here")
    if index == "frame":
        return Resent(topic, partition, letter.raw)
    try:
        key = _key(decode_event(letter.raw))
    except EventError:
        key = ""  # a worker of another version may know it
    return Resent(topic, partition_of(key, partitions) if key else partition, pack_frames([letter.raw])[0])


def _place(letter: KeptLetter) -> tuple[str, int, str]:
    parts = letter.origin.split("/")
    if len(parts) != 4 or parts[0] not in _TOPICS or not parts[1].isdecimal():
        raise LetterError(f"{letter.origin}: cannot be sent again: it is from none of {', '.join(sorted(_TOPICS))}")
    return parts[0], int(parts[1]), parts[3]


def _key(event: AnyEvent) -> str:
    """What decides the partition of an event in its topic."""
    if isinstance(event, RatedLeg):
        return str(event.account_id)
    if isinstance(event, NodeHeartbeat | NodeRestarted):
        return event.node
    if isinstance(event, DeadLetter):
        return event.origin
    return event.call_id


class Sender:
    """Sends messages and waits for the broker. Use as a context manager."""

    def __init__(self, kafka: Kafka) -> None:
        """Raises LetterError when no broker answers."""
        try:
            require_reachable(kafka)
            self._producer = KafkaProducer(**kafka.client(), acks="all", max_request_size=4 << 20)
        except (KafkaError, TopicError) as error:
            raise LetterError(f"nothing can be sent: {error}") from error

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(SEND_SECONDS)

    def send(self, message: Resent) -> str:
        """Where it stands now: topic/partition/offset. Raises LetterError when it is not known to be there."""
        try:
            sent = self._producer.send(message.topic, value=message.value, partition=message.partition)
            place = sent.get(SEND_SECONDS)
        except KafkaError as error:
            raise LetterError(f"not sent to {message.topic}: {error}") from error
        return f"{place.topic}/{place.partition}/{place.offset}"
