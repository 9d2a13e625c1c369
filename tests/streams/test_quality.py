"""The quality role on the real Kafka: published, made anew after a kill, read by the router, and nobody disturbed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer
from made_legs import Parties, make_legs, produce_events
from made_traffic import CUSTOMERS, VENDORS

from router.server.quality_reader import QualityReader
from runtime.compacted import CompactedReader, Message
from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import CallEnded, LegEnded
from schemas.frame import partition_of
from schemas.quality import QUALITY_DECODER, Quality
from schemas.topics import CALLS, QUALITY
from streamco.embedded.temporary_users import as_user, values_of
from streams.folds.quality import WIDTH, Key, count, quality_of
from streams.folds.window import Window
from streams.settings import StreamsSettings

PROGRAM = """
import sys
from streamco.logs import configure_logs
from streams.settings import StreamsSettings
from streams.worker import run
configure_logs("streams")
run(StreamsSettings.model_validate_json(sys.stdin.read()))
"""
PARTIES = Parties({number: number for number in (*CUSTOMERS, *VENDORS)})
Run = Callable[[str], "subprocess.Popen[bytes]"]


def until(what: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def on_topic(kafka: Kafka) -> dict[str, Quality]:
    reader = CompactedReader(kafka, (QUALITY,), "test")
    found: dict[str, Quality] = {}
    while not reader.complete:
        for message in reader.poll(200):
            if message.value is None:
                found.pop(message.key.decode(), None)
            else:
                found[message.key.decode()] = QUALITY_DECODER.decode(message.value)
    reader.close()
    return found


def wanted(ended: list[LegEnded | CallEnded]) -> dict[str, tuple[int, ...]]:
    window = Window[Key](3_600_000, WIDTH, most_legs=10_000, most_keys=1_000)
    for one in ended:
        count(window, one, one.ended_at_ms)
    return {key.text: sums_of(quality_of(key, sums, 0, 0)) for key, sums in window.totals().items()}


def sums_of(one: Quality) -> tuple[int, ...]:
    return (
        one.attempts, one.answered, one.effective, one.effective_of, one.talk_ms, one.pdd_ms, one.pdd_legs,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, kafka: Kafka) -> Iterator[Run]:
    """Starts a worker of the role as a process; whoever is left is killed."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        settings = StreamsSettings(
            role="quality", kafka=as_user(kafka, "quality"), postgres=Postgres(dsn="postgresql://nobody@127.0.0.1:9/x"),
            clickhouse=ClickHouse(url="http://127.0.0.1:9", password="x"), data_directory=tmp_path / name,
            beat=tmp_path / f"{name}.beat", quality_window_seconds=3_600,
        )  # fmt: skip
        values = settings.model_dump(mode="json")
        values["kafka"] = values_of(settings.kafka)
        values["postgres"]["dsn"] = settings.postgres.dsn.get_secret_value()
        values["clickhouse"]["password"] = settings.clickhouse.password.get_secret_value()
        with (tmp_path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=log, stderr=log)
        running.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(values))
        process.stdin.close()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.servers
def test_published_once_a_leg_made_anew_after_a_kill_and_read_by_the_router(kafka: Kafka, run: Run) -> None:
    now_ms = time.time_ns() // 1_000_000
    ended = [one for one in make_legs(PARTIES, 1, 400, now_ms - 3_000_000) if one.ended_at_ms < now_ms]
    half = len(ended) // 2
    assert half > 300
    # An earlier worker has left a key that has no legs any more.
    old = KafkaProducer(**kafka.client())
    left = Quality(side="vendor", peer_id=999, at_ms=1, window_seconds=60, attempts=3)
    old.send(
        QUALITY.name, key=b"vendor/999/", value=msgspec.json.encode(left), partition=partition_of("vendor/999/", 8)
    )
    old.close()
    reader = QualityReader(as_user(kafka, "router"))
    reader.start()
    try:
        until(lambda: "vendor/999/" in reader.current)
        produce_events(kafka, CALLS, ended[:half])
        first = run("first")
        until(lambda: {key: sums_of(one) for key, one in reader.current.items()} == wanted(ended[:half]))
        first.kill()
        first.wait()
        # While it is dead more comes, a part of it twice, all of it in other frames than before.
        produce_events(kafka, CALLS, ended[half:], in_a_frame=7)
        produce_events(kafka, CALLS, ended[half - 100 : half + 100], in_a_frame=3)
        second, third = run("second"), run("third")
        assert len(wanted(ended)) > 8
        until(lambda: {key: sums_of(one) for key, one in reader.current.items()} == wanted(ended))
        assert {key: sums_of(one) for key, one in on_topic(kafka).items()} == wanted(ended)
        assert all(one.key == key and one.at_ms >= now_ms for key, one in reader.current.items())
        for process in (second, third):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    finally:
        reader.stop()


def test_a_router_without_kafka_has_no_quality_and_is_not_disturbed() -> None:
    reader = QualityReader(Kafka(bootstrap="127.0.0.1:9"))
    reader.start()
    time.sleep(0.2)
    assert reader.current == {}
    reader.stop()


def test_what_a_call_has_read_does_not_change_under_it() -> None:
    reader = QualityReader(Kafka(bootstrap="127.0.0.1:9"))
    made = Quality(side="vendor", peer_id=7, at_ms=5, window_seconds=60, attempts=3)
    reader.put(Message(QUALITY.name, b"vendor/7/", msgspec.json.encode(made)))
    assert reader.current == {}
    reader.swap()
    kept = reader.current
    reader.put(Message(QUALITY.name, b"vendor/8/", b'{"v":2,"of another version":1}'))
    reader.put(Message(QUALITY.name, b"vendor/7/", None))
    reader.swap()
    assert kept == {"vendor/7/": made}
    assert reader.current == {}
    with pytest.raises(TypeError):
        kept["vendor/9/"] = made  # type: ignore[index]
