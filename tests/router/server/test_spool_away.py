"""A broker that goes away in the middle: nothing is lost, and the thread lives on."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka.errors import KafkaTimeoutError

from router.server import spool
from runtime.connections import Kafka
from schemas.events import CallRouted, decode_event, encode_event
from schemas.frame import unpack_frame

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"


class FakeProducer:
    """The first one fails in every way that a client of a vanished broker does; later ones take all."""

    made = 0
    taken: list[str] = []  # noqa: RUF012 - shared by all, on purpose

    def __init__(self, **_: Any) -> None:
        FakeProducer.made += 1
        self._gone = FakeProducer.made == 1
        self._frames: list[bytes] = []

    def send(self, _topic: str, *, value: bytes, partition: int) -> "FakeProducer":
        self._frames.append(value)
        return self

    def flush(self, timeout: float) -> None:
        if self._gone:
            raise KafkaTimeoutError("nobody there")

    def get(self, timeout: float) -> None:
        for frame in self._frames:
            for raw in unpack_frame(frame):
                event = decode_event(raw)
                assert isinstance(event, CallRouted)
                FakeProducer.taken.append(event.call_id)
        self._frames.clear()

    def close(self, timeout: float) -> None:
        self.flush(timeout)


def test_the_thread_outlives_a_producer_that_cannot_even_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "KafkaProducer", FakeProducer)
    monkeypatch.setattr(spool, "_RETRY_SECONDS", 0.05)
    event = decode_event((EXAMPLES / "call_routed.json").read_bytes())
    assert isinstance(event, CallRouted)
    ids = [f"ast1-1795609861-1795609900.{number}" for number in range(10)]
    waiting = spool.Spool(tmp_path / "spool.sqlite", Kafka(bootstrap="127.0.0.1:9"), 1_000)
    waiting.start()
    for call_id in ids:
        one = msgspec.structs.replace(event, call_id=call_id)
        waiting.put(call_id, lambda one=one: encode_event(one))
    deadline = time.monotonic() + 10
    while len(FakeProducer.taken) < len(ids) and time.monotonic() < deadline:
        time.sleep(0.02)
    waiting.stop()
    assert FakeProducer.made >= 2
    assert sorted(set(FakeProducer.taken)) == sorted(ids)
