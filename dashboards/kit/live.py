"""The live view of one worker process: what lies on `active-calls` and `node-states`, kept current by one thread.

The topics are read from their beginning, without a group: every process has its own full copy. When Kafka is away the
copy stays as it was and says since when; when it comes back with other offsets, all is read anew.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog
from kafka.errors import KafkaError

from runtime.compacted import ANSWER_MS, CompactedReader, TopicsRemadeError
from runtime.connections import Kafka
from runtime.metrics import Bounded, gauge, write_metrics
from runtime.topics import TopicError
from schemas.live import LIVE_CALL_DECODER, NODE_STATE_DECODER, LiveCall, NodeState
from schemas.topics import ACTIVE_CALLS, NODE_STATES

MAX_CALLS: Final = 50_000
POLL_MS: Final = 250
RETRY_SECONDS: Final = 2.0

CALLS: Final = Bounded("dashboards_live_calls", "Calls of the live view; of more, that they are there is said.")
LAG: Final = gauge("dashboards_live_lag_seconds", "How late the newest message of the live topics came.")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LiveView:
    """What is known at one moment. `complete`: the topics were read up to their end once.

    `heard_at_ms`: the newest moment that any message tells of; `lag_ms`: how late that message came here.
    `away_since_ms`: Kafka has not answered since then; None: it answers.
    """

    calls: tuple[LiveCall, ...]
    nodes: tuple[NodeState, ...]
    complete: bool
    heard_at_ms: int | None
    lag_ms: int
    away_since_ms: int | None
    dropped: int  # calls beyond MAX_CALLS, which are not shown
    undecodable: int


class LiveStore:
    """The calls and nodes by key; written by the reading thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[bytes, LiveCall] = {}
        self._nodes: dict[bytes, NodeState] = {}
        self._complete = False
        self._heard_at_ms: int | None = None
        self._lag_ms = 0
        self._away_since_ms: int | None = None
        self._dropped: set[bytes] = set()
        self._undecodable = 0
        CALLS.watch(MAX_CALLS, lambda: len(self._calls))
        LAG.set_function(lambda: self._lag_ms / 1000)

    def view(self) -> LiveView:
        """Everything, at this moment."""
        with self._lock:
            return LiveView(
                tuple(self._calls.values()),
                tuple(self._nodes.values()),
                self._complete,
                self._heard_at_ms,
                self._lag_ms,
                self._away_since_ms,
                len(self._dropped),
                self._undecodable,
            )

    def clear(self) -> None:
        """Forget all: the topics are about to be read from their beginning."""
        with self._lock:
            self._calls.clear()
            self._nodes.clear()
            self._dropped.clear()
            self._complete = False
            self._undecodable = 0

    def set_complete(self) -> None:
        """The topics were read up to their end."""
        with self._lock:
            self._complete = True

    def set_away(self, away: bool, now_ms: int) -> None:
        """Whether Kafka answers, as of now."""
        with self._lock:
            if not away:
                self._away_since_ms = None
            elif self._away_since_ms is None:
                self._away_since_ms = now_ms

    def put(self, topic: str, key: bytes, value: bytes | None, now_ms: int) -> None:
        """One message. A tombstone (no value) takes its key away; what cannot be read is counted and left out."""
        with self._lock:
            try:
                if topic == NODE_STATES.name:
                    self._put_node(key, value, now_ms)
                else:
                    self._put_call(key, value, now_ms)
            except msgspec.MsgspecError:
                self._undecodable += 1

    def _put_call(self, key: bytes, value: bytes | None, now_ms: int) -> None:
        if not value:
            self._calls.pop(key, None)
            self._dropped.discard(key)
            return
        call = LIVE_CALL_DECODER.decode(value)
        self._hear(newest_ms(call), now_ms)
        if key not in self._calls and len(self._calls) >= MAX_CALLS:
            if key not in self._dropped and len(self._dropped) < MAX_CALLS:
                self._dropped.add(key)
                CALLS.lose()
            return
        self._calls[key] = call

    def _put_node(self, key: bytes, value: bytes | None, now_ms: int) -> None:
        if not value:
            self._nodes.pop(key, None)
            return
        node = NODE_STATE_DECODER.decode(value)
        self._hear(node.at_ms, now_ms)
        self._nodes[key] = node

    def _hear(self, at_ms: int | None, now_ms: int) -> None:
        # Messages of several partitions come out of order: only what tells of a newer moment says how late we are.
        if at_ms is not None and (self._heard_at_ms is None or at_ms > self._heard_at_ms):
            self._heard_at_ms = at_ms
            self._lag_ms = max(0, now_ms - at_ms)


def newest_ms(call: LiveCall) -> int | None:
    """The newest moment that a call's state tells of."""
    moments = [call.call_started_at_ms, call.ended_at_ms]
    for leg in call.legs:
        moments += [leg.started_at_ms, leg.ringing_at_ms, leg.answered_at_ms, leg.ended_at_ms]
    return max((moment for moment in moments if moment is not None), default=None)


class LiveReader:
    """The thread that follows the topics into a store. Started once, in the process that serves."""

    def __init__(
        self, settings: Kafka, store: LiveStore, clock_ms: Callable[[], int], metrics: Path | None = None
    ) -> None:
        """`metrics`: the file in which the process's numbers are written on the way."""
        self._settings = settings
        self._metrics = metrics
        self._store = store
        self._clock_ms = clock_ms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it, a few seconds at most."""
        self._stopping.set()
        self._thread.join(ANSWER_MS / 1000 + 2)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except TopicsRemadeError as error:
                _log.warning("the live view is read anew", why=str(error))
            except (KafkaError, TopicError, OSError, ValueError) as error:
                # ValueError is kafka-python's word for a broker that it cannot reach at its start.
                self._store.set_away(True, self._clock_ms())
                _log.warning("the live view cannot be read", error=str(error)[:300])
                write_metrics(self._metrics)
                self._stopping.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """Read until stopped. Raises what CompactedReader raises."""
        reader = CompactedReader(self._settings, (ACTIVE_CALLS, NODE_STATES), "streamco-dashboards")
        try:
            self._store.clear()
            while not self._stopping.is_set():
                write_metrics(self._metrics)
                messages = reader.poll(POLL_MS)
                now_ms = self._clock_ms()
                self._store.set_away(False, now_ms)
                for one in messages:
                    self._store.put(one.topic, one.key, one.value, now_ms)
                if reader.complete:
                    self._store.set_complete()
        finally:
            reader.close()
