"""The quality role: closed legs become sums over the last minutes, on the compacted topic that every router reads.

One worker is enough; a second one makes the same sums from the same log and publishes the same values.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from runtime.compacted import CompactedReader, TopicsRemadeError
from runtime.connections import Kafka
from runtime.heartbeat import send_beat
from runtime.metrics import Bounded
from runtime.topics import TopicError
from schemas.events import AnyEvent, CallEnded, LegEnded
from schemas.frame import partition_of
from schemas.quality import QUALITY_DECODER, Quality
from schemas.topics import CALLS, QUALITY
from streams.app import now_ms
from streams.folds import quality
from streams.folds.quality import Key
from streams.folds.window import Window
from streams.log_reader import LogReader
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
PUBLISH_SECONDS: Final = 5.0
REFRESH_MS: Final = 60_000  # what has not changed is published again, so that its moment says that it is still true
MOST_LEGS: Final = 1_000_000
MOST_KEYS: Final = 100_000
_POLL_MS: Final = 500
_RETRY_SECONDS: Final = 2.0
_AWAY: Final = (KafkaError, TopicError, TopicsRemadeError, OSError, TimeoutError)

LEGS: Final = Bounded("quality_legs", "Legs of the window of quality; at the bound the window is made shorter.")
KEYS: Final = Bounded("quality_keys", "Vendors, codes and customers with figures; further ones have none.")
_encode = msgspec.json.Encoder().encode


class Published:
    """What lies on the topic, and what has to be written for it to be what the window says."""

    def __init__(self, there: Iterable[str] = ()) -> None:
        """`there`: keys that an earlier worker has left."""
        self._there: dict[str, tuple[int, Quality | None]] = dict.fromkeys(there, (0, None))

    def due(self, window: Window[Key], at_ms: int, window_ms: int) -> dict[str, Quality | None]:
        """What to write now, by key; None takes the key away. It counts as written."""
        window.expire(at_ms)
        length = (at_ms - max(window.since_ms(), at_ms - window_ms)) // 1000
        due: dict[str, Quality | None] = {}
        alive: set[str] = set()
        for key, sums in window.totals().items():
            text = key.text
            alive.add(text)
            made = quality.quality_of(key, sums, at_ms, length)
            written_ms, before = self._there.get(text, (0, None))
            if at_ms - written_ms >= REFRESH_MS or before is None or not _same(before, made):
                due[text] = made
                self._there[text] = (at_ms, made)
        for text in self._there.keys() - alive:
            due[text] = None
            del self._there[text]
        return due


def _same(one: Quality, other: Quality) -> bool:
    return msgspec.structs.replace(one, at_ms=other.at_ms, window_seconds=other.window_seconds) == other


class QualityWorker:
    """The window of one connection to Kafka: made from the log, followed, published. `close` lets go of Kafka."""

    def __init__(self, settings: StreamsSettings, clock: Callable[[], int] = now_ms) -> None:
        """Raises what Kafka's clients raise where there is no broker."""
        self._clock = clock
        self._partitions = settings.kafka.partitions
        self._window_ms = settings.quality_window_seconds * 1000
        self.window: Window[Key] = Window(self._window_ms, quality.WIDTH, most_legs=MOST_LEGS, most_keys=MOST_KEYS)
        self._published = Published(topic_keys(settings.kafka))
        self._reader = LogReader(settings.kafka, (CALLS,), clock() - self._window_ms, "streamco-quality")
        self._producer = KafkaProducer(
            **settings.kafka.client(),
            acks="all",
            linger_ms=20,
            bootstrap_timeout_ms=5_000,
            max_block_ms=10_000,
            delivery_timeout_ms=30_000,
            request_timeout_ms=10_000,
        )
        self._send_seconds = settings.send_seconds
        self._next_at = 0.0
        self._lost = 0
        LEGS.watch(MOST_LEGS, lambda: self.window.legs)
        KEYS.watch(MOST_KEYS, lambda: len(self.window))

    def step(self) -> str:
        """Read what is new, publish when it is time; what was done, in words. Raises what Kafka's clients raise."""
        for event in self._reader.poll(_POLL_MS):
            self.take(event)
        if not self._reader.complete:
            return f"reads the window from the log: {self.window.legs} legs"
        if time.monotonic() >= self._next_at:
            self._publish(self._published.due(self.window, self._clock(), self._window_ms))
            self._next_at = time.monotonic() + PUBLISH_SECONDS
        return f"{len(self.window)} figures of {self.window.legs} legs"

    def take(self, event: AnyEvent) -> None:
        """One event of the log."""
        if isinstance(event, LegEnded | CallEnded):
            quality.count(self.window, event, self._clock())
            if self.window.lost > self._lost:
                (LEGS if self.window.legs >= MOST_LEGS else KEYS).lose(self.window.lost - self._lost)
                self._lost = self.window.lost

    def _publish(self, due: Mapping[str, Quality | None]) -> None:
        sent = [
            self._producer.send(
                QUALITY.name,
                key=text.encode(),
                value=None if made is None else _encode(made),
                partition=partition_of(text, self._partitions),
            )
            for text, made in due.items()
        ]
        self._producer.flush(timeout=self._send_seconds)
        for one in sent:
            one.get(timeout=1)

    def close(self) -> None:
        """What was not sent is not sent: the next worker publishes anew."""
        self._reader.close()
        self._producer.close(timeout=1)


def topic_keys(kafka: Kafka) -> set[str]:
    """The keys that the topic has now. Raises what kafka-python raises."""
    reader = CompactedReader(kafka, (QUALITY,), "streamco-quality")
    keys: set[str] = set()
    try:
        while not reader.complete:
            for message in reader.poll(_POLL_MS):
                text = message.key.decode("utf-8", "replace")
                (keys.discard if message.value is None else keys.add)(text)
        return keys
    finally:
        reader.close()


def read_quality(value: bytes) -> Quality | None:
    """The figures of a message; None: not readable, of another version."""
    try:
        return QUALITY_DECODER.decode(value)
    except msgspec.MsgspecError:
        return None


def run_quality(settings: StreamsSettings, stopping: Callable[[float], bool]) -> None:
    """Publish until told to stop. `stopping(seconds)` waits so long at most and says whether to end.

    While Kafka is away nothing is published and the figures of the topic grow old, which their readers see.
    """
    worker: QualityWorker | None = None
    while not stopping(0.0):
        try:
            worker = worker or QualityWorker(settings)
            send_beat(settings.beat, detail=worker.step())
        except _AWAY as error:
            log.warning("no quality: Kafka is away", error=repr(error)[:300])
            said = f"no quality: Kafka is away: {error!r}"[:300]
            send_beat(settings.beat, detail=said, degraded=f"{said}: routes are ordered by figures that grow old")
            _let_go(worker)
            worker = None
            stopping(_RETRY_SECONDS)
    _let_go(worker)


def _let_go(worker: QualityWorker | None) -> None:
    if worker is not None:
        try:
            worker.close()
        except _AWAY as error:
            log.info("Kafka did not let go", error=repr(error)[:200])
