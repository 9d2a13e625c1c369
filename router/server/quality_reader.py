"""The quality that routes are ordered by: a copy of the compacted topic, kept by one thread beside the calls.

A call reads `current` once and keeps it: it is never changed, only replaced. When Kafka is away the last copy stays,
and grows old: what is too old is the routing core's to judge, by each figure's `at_ms`.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import msgspec
import structlog
from kafka.errors import KafkaError

from runtime.compacted import ANSWER_MS, CompactedReader, Message, TopicsRemadeError
from runtime.connections import Kafka
from runtime.metrics import Bounded
from runtime.topics import TopicError
from schemas.quality import QUALITY_DECODER, Quality
from schemas.topics import QUALITY

log = structlog.get_logger(__name__)
MOST_QUALITIES: Final = 200_000
_POLL_MS: Final = 500
_SWAP_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 2.0
_SAY_SECONDS: Final = 60.0

KEPT: Final = Bounded("router_qualities", "Figures of quality that the router keeps; further ones are neutral.")


class QualityReader:
    """`current`: figures by Quality.key. `start` and `stop` its thread; a router works as well without it."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._figures: dict[str, Quality] = {}
        self._changed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quality-reader", daemon=True)
        self.current: Mapping[str, Quality] = MappingProxyType({})
        KEPT.watch(MOST_QUALITIES, lambda: len(self.current))

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it, a few seconds at most."""
        self._stopping.set()
        self._thread.join(ANSWER_MS / 1000 + 2)

    def _run(self) -> None:
        said_at = float("-inf")
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaError, TopicError, TopicsRemadeError, OSError) as error:
                if time.monotonic() - said_at > _SAY_SECONDS:
                    log.warning("quality cannot be read: the last figures stay, and grow old", error=repr(error)[:300])
                    said_at = time.monotonic()
                self._stopping.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        reader = CompactedReader(self._kafka, (QUALITY,), "streamco-router")
        try:
            self._figures, self._changed = {}, True
            swapped_at = float("-inf")
            while not self._stopping.is_set():
                for message in reader.poll(_POLL_MS):
                    self.put(message)
                # Before the topic's end the copy is a part of the truth; the old one is better.
                if reader.complete and self._changed and time.monotonic() - swapped_at >= _SWAP_SECONDS:
                    self.swap()
                    swapped_at = time.monotonic()
        finally:
            with suppress(KafkaError, OSError):
                reader.close()

    def put(self, message: Message) -> None:
        """One message; what cannot be read (of another version) leaves its key without figures: neutral."""
        key = message.key.decode("utf-8", "replace")
        self._changed = True
        if message.value is None:
            self._figures.pop(key, None)
            return
        if key not in self._figures and len(self._figures) >= MOST_QUALITIES:
            KEPT.lose()
            return
        try:
            self._figures[key] = QUALITY_DECODER.decode(message.value)
        except msgspec.MsgspecError:
            self._figures.pop(key, None)

    def swap(self) -> None:
        """What was read so far is what calls see from now on."""
        self.current = MappingProxyType(self._figures.copy())
        self._changed = False
