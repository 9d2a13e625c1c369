"""The quality of vendors as the routers know it now, read once: the whole compacted topic, within a bounded time."""

import time
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from kafka.errors import KafkaError

from runtime.compacted import CompactedReader, TopicsRemadeError
from runtime.connections import Kafka
from runtime.topics import TopicError
from schemas.quality import QUALITY_DECODER, Quality
from schemas.topics import QUALITY

_POLL_MS = 200


def read_quality(kafka: Kafka, seconds: float) -> Mapping[str, Quality] | None:
    """Figures by Quality.key; None if Kafka did not tell all of them within so many seconds."""
    deadline = time.monotonic() + seconds
    figures: dict[str, Quality] = {}
    try:
        reader = CompactedReader(kafka, (QUALITY,), "streamco-check")
        try:
            while not reader.complete:
                for message in reader.poll(_POLL_MS):
                    key = message.key.decode("utf-8", "replace")
                    figures.pop(key, None)
                    if message.value is not None:
                        try:
                            figures[key] = QUALITY_DECODER.decode(message.value)
                        except msgspec.MsgspecError:
                            continue  # of another version: neutral, as for the routers
                if time.monotonic() > deadline:
                    return None
        finally:
            reader.close()
    except (KafkaError, TopicError, TopicsRemadeError, OSError):
        return None
    return MappingProxyType(figures)
