"""Watches a worker from beside its event loop, and ends the process when it stands still or has slept.

A worker can hang where nothing raises: a server that takes a query and never answers, a consumer that died quietly. So
a thread asks the broker itself what the group has committed and what waits; a worker whose partition stands still ends,
non-zero, and is started again at its last commit. One that is ending has a time for it: it would wait for ever for
what a broker never takes. And a process that did not run for longer than its session (stopped,
paused with its machine) has lost its partitions to others without knowing: it ends before it goes on as if it had them.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final, NoReturn

import structlog
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from runtime.heartbeat import send_beat
from runtime.metrics import gauge
from streams.folds.standstill import Partition, Progress, Standing
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
TICK_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 5.0
REQUEST_MS: Final = 5_000
ENDING_SECONDS: Final = 10.0
EXIT_CODE: Final = 1
_WAITING: Final = gauge("stream_waiting_messages", "Messages of this worker's partitions not yet committed.", ["topic"])


class Watch:
    """`assigned()`: the partitions that this worker works on now, empty while they are being given out. `ending()`: it
    has crashed, or was asked to end. `broken()`: why it gets no partitions any more, or nothing (coordination.py).
    """

    def __init__(
        self,
        settings: StreamsSettings,
        group: str,
        assigned: Callable[[], Collection[Partition]],
        ending: Callable[[], bool],
        broken: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._group = group
        self._assigned = assigned
        self._ending = ending
        self._broken = broken
        self._admin: KafkaAdminClient | None = None
        self._stop = threading.Event()
        # Two: the one that asks Kafka may have to wait for an answer, the other must see each moment.
        self._threads = [
            threading.Thread(target=work, name=f"watch-{work.__name__}", daemon=True)
            for work in (self._tick, self._look)
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more verdicts from now on: the worker is ending as it should."""
        self._stop.set()

    def _tick(self) -> None:
        """Did we run at all; may we get partitions; does the end come to an end?"""
        ending_since: float | None = None
        before = seconds_awake()
        while not self._stop.wait(TICK_SECONDS):
            now = seconds_awake()
            if now - before > self._settings.asleep_seconds:
                self._end(f"did not run for {now - before:.0f} s: its partitions may be another worker's by now")
            before = now
            if self._ending():
                ending_since = ending_since or now
                if now - ending_since > ENDING_SECONDS:
                    self._end(f"has not ended {now - ending_since:.0f} s after it began to")
            elif broken := self._broken():
                self._end(broken)

    def _look(self) -> None:
        """Do our partitions move?"""
        standing = Standing(self._settings.standstill_seconds)
        while not self._stop.wait(LOOK_SECONDS):
            if self._ending() or (seen := self._offsets()) is None:
                continue
            tell_waiting(seen)
            if still := standing.look(seconds_awake(), seen):
                worst = max(still, key=lambda one: one.seconds)
                self._end(
                    f"{worst.partition.topic}/{worst.partition.number} stands still at {worst.progress.committed} of "
                    f"{worst.progress.end} for {worst.seconds:.0f} s; {len(still)} partitions do"
                )

    def _offsets(self) -> dict[Partition, Progress] | None:
        """What the broker says of our partitions; None when it says nothing: then nobody could get on."""
        partitions = [TopicPartition(*partition) for partition in self._assigned()]
        if not partitions:
            return {}
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    **self._settings.kafka.client(),
                    request_timeout_ms=REQUEST_MS,
                    bootstrap_timeout_ms=REQUEST_MS,
                )
            return self._ask(self._admin, partitions)
        except Exception as error:  # whatever it is, the worker must not go unwatched: the next look asks anew
            log.warning("the watch gets no offsets", error=repr(error))
            self._let_go()
            return None

    def _ask(self, admin: KafkaAdminClient, partitions: list[TopicPartition]) -> dict[Partition, Progress]:
        told = admin.list_group_offsets({self._group: partitions})[self._group]
        committed = {one: told[one].offset for one in partitions if one in told and told[one].offset >= 0}
        ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
        new = [one for one in partitions if one not in committed]
        begins = admin.list_partition_offsets(dict.fromkeys(new, OffsetSpec.EARLIEST)) if new else {}
        committed |= {one: begins[one].offset for one in new}
        return {Partition(one.topic, one.partition): Progress(committed[one], ends[one].offset) for one in partitions}

    def _let_go(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(Exception):  # of a broker that has vanished; nothing is waiting for its answer
                admin.close()

    def _end(self, reason: str) -> NoReturn:
        """At once, and past everything that might hang: nothing is lost, since nothing was acknowledged."""
        log.error("stream worker ends itself", role=self._settings.role, reason=reason)
        with suppress(OSError):
            send_beat(self._settings.beat, ok=False, detail=reason)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_CODE)


def tell_waiting(seen: Mapping[Partition, Progress]) -> None:
    """Set the metric: messages that this worker has not committed, of each topic."""
    for topic in {partition.topic for partition in seen}:
        mine = [progress for partition, progress in seen.items() if partition.topic == topic]
        _WAITING.labels(topic).set(sum(max(0, one.end - one.committed) for one in mine))


def seconds_awake() -> float:
    """Seconds that go on while the process, or its machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
