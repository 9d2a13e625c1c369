"""The watch on a fake node: heartbeats, new epochs, the node's own clock, and sessions that end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.restart.last_heartbeat import LastHeartbeat, load_heartbeat
from agent.restart.restart import NewStart
from agent.watch import Watch
from schemas.events import NodeHeartbeat
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer

CALL = "sim1-1795609861-1795609900.12"
HOUR_MS = 3_600_000
EPOCH_MS = 1_795_609_861_000
RIGHT = "right-secret"


class FakeCounters:
    def __init__(self) -> None:
        self.seen_at: list[int] = []
        self.gone_calls: list[str] = []
        self.unheld: frozenset[str] = frozenset()
        self.on_unpaid: Callable[[dict[str, int]], None] = lambda _unpaid: None

    def seen(self, _seen: Any, _epoch: int, node_clock_ms: int) -> None:
        self.seen_at.append(node_clock_ms)

    def gone(self, call_id: str) -> None:
        self.gone_calls.append(call_id)


class Stage:
    """A node whose clock is an hour behind, and a watch on it."""

    def __init__(self, directory: Path, settings_of: Any) -> None:
        self.directory = directory
        self.settings_of = settings_of
        directory.mkdir()
        (directory / "epoch").write_text("1795609861\n")
        self.channel = Channel(
            name="PJSIP/x-1", unique_id="sim1-1.1", linked_id="sim1-1.1", call_id=CALL, leg="", context="c",
            extension="1", number="2", connected_number="", created_at_ms=self.node_now_ms() - 5_000,
            state=ami_messages.UP,
        )  # fmt: skip
        self.counters = FakeCounters()
        self.events: list[Any] = []
        self.known_start = (0, "")
        self.starts: list[NewStart] = []
        self.server = self.make_server()
        self.port = 0

    @staticmethod
    def node_now_ms() -> int:
        return time.time_ns() // 1_000_000 - HOUR_MS

    def make_server(self, started_ms: int = EPOCH_MS) -> AmiServer:
        return AmiServer(
            node="sim1", user="agent", secret="right-secret", channels=lambda: [self.channel],
            hang_up=lambda _name, _cause: True, now_ms=self.node_now_ms, started_ms=started_ms,
        )  # fmt: skip

    def watch(self, secret: str = RIGHT) -> Watch:
        settings = self.settings_of(
            self.directory, ami_port=self.port, ami_secret=secret, heartbeat_seconds=0.05, ami_retry_seconds=0.02
        )
        return Watch(
            settings,
            self.counters,  # type: ignore[arg-type]
            agent_id="host-1",
            put=self.events.append,
            begin=self.begin,
            journal=lambda: (10, 20),
            known_start=lambda: self.known_start,
        )

    def begin(self, start: NewStart) -> None:
        self.starts.append(start)
        self.known_start = (start.epoch, start.started)

    def heartbeats(self) -> list[NodeHeartbeat]:
        return [event for event in self.events if isinstance(event, NodeHeartbeat)]

    def restarts(self) -> list[tuple[int, int]]:
        return [(one.event.previous_epoch, one.event.epoch) for one in self.starts if one.event is not None]


@pytest.fixture
async def stage(tmp_path: Path, settings_of: Any) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "sim1", settings_of)
    made.port = await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.stop()
    await asyncio.sleep(0.02)


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - the test looks from outside, nobody tells it
            await asyncio.sleep(0.01)


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_heartbeats_say_what_is_there_and_admissions_are_judged_by_the_nodes_clock(stage: Stage) -> None:
    task = asyncio.create_task(stage.watch().run())
    await until(lambda: len(stage.heartbeats()) >= 3)
    beat = stage.heartbeats()[-1]
    assert [(call.call_id, call.answered) for call in beat.calls] == [(CALL, True)]
    assert (beat.epoch, beat.agent_id, beat.journal_offset, beat.journal_waiting_bytes) == (
        1_795_609_861, "host-1", 10, 20
    )  # fmt: skip
    assert abs(beat.at_ms - time.time_ns() // 1_000_000) < 5_000
    assert all(abs(at_ms - stage.node_now_ms()) < 5_000 for at_ms in stage.counters.seen_at)
    assert stage.restarts() == [(0, 1_795_609_861)]
    stage.server.send_event(ami_messages.channel_event("Hangup", "sim1", stage.channel, 1_795_609_900_000, 16))
    await until(lambda: stage.counters.gone_calls == [CALL])
    await end(task)


async def test_a_restart_of_asterisk_is_told_once_with_both_epochs(stage: Stage) -> None:
    watch = stage.watch()
    task = asyncio.create_task(watch.run())
    await until(stage.heartbeats)
    await stage.server.stop()
    (stage.directory / "epoch").write_text("1795609999\n")
    await until(lambda: "not reached" in watch.health)
    stage.server = stage.make_server(EPOCH_MS + 138_000)
    await stage.server.start("127.0.0.1", stage.port)
    await until(lambda: stage.heartbeats()[-1].epoch == 1_795_609_999)
    assert [(one.epoch, one.started, one.alive) for one in stage.starts] == [
        (1_795_609_861, "2026-11-25 12:31:01", {CALL}), (1_795_609_999, "2026-11-25 12:33:19", {CALL}),
    ]  # fmt: skip
    assert stage.restarts() == [(0, 1_795_609_861), (1_795_609_861, 1_795_609_999)]
    assert watch.health == "AMI is there"
    await end(task)


async def test_asterisk_started_anew_without_an_epoch_of_its_own_is_refused(stage: Stage) -> None:
    watch = stage.watch()
    task = asyncio.create_task(watch.run())
    await until(stage.heartbeats)
    await stage.server.stop()
    stage.server = stage.make_server(EPOCH_MS + 5_000)
    await stage.server.start("127.0.0.1", stage.port)
    await until(lambda: "without an epoch of its own" in watch.health)
    assert "2026-11-25 12:31:06, before: 2026-11-25 12:31:01" in watch.health
    beats = len(stage.heartbeats())
    await asyncio.sleep(0.2)
    assert len(stage.heartbeats()) == beats  # it is not said to be well
    (stage.directory / "epoch").write_text("1795609866\n")
    await until(lambda: len(stage.heartbeats()) > beats)
    assert stage.restarts() == [(0, 1_795_609_861), (1_795_609_861, 1_795_609_866)]
    await end(task)


async def test_an_epoch_of_a_start_that_failed_is_not_the_running_asterisks(stage: Stage) -> None:
    watch = stage.watch()
    task = asyncio.create_task(watch.run())
    await until(stage.heartbeats)
    (stage.directory / "epoch").write_text("1795609870\n")
    beats = len(stage.heartbeats())
    await until(lambda: len(stage.heartbeats()) > beats + 2)
    assert stage.heartbeats()[-1].epoch == 1_795_609_861
    assert len(stage.starts) == 1
    (stage.directory / "epoch").write_text("1795609000\n")
    await until(lambda: "1795609000 is older than 1795609861" in watch.health)
    await end(task)


async def test_the_last_heartbeat_is_kept_for_a_crash(stage: Stage) -> None:
    task = asyncio.create_task(stage.watch().run())

    def kept() -> LastHeartbeat | None:
        return load_heartbeat(stage.directory, 1_795_609_861)

    await until(lambda: kept() is not None)
    heartbeat = kept()
    assert heartbeat is not None
    assert heartbeat.calls.keys() == {CALL}
    assert heartbeat.calls[CALL] is not None
    assert abs(heartbeat.at_ms - stage.node_now_ms()) < 5_000  # on the node's clock, as the journal's moments are
    await end(task)


async def test_what_is_wrong_is_said_and_tried_again(stage: Stage) -> None:
    watch = stage.watch(secret="wrong-secret")
    task = asyncio.create_task(watch.run())
    await until(lambda: "refuses user agent" in watch.health)
    assert not stage.events
    await end(task)
    (stage.directory / "epoch").write_text("yesterday")
    watch = stage.watch()
    task = asyncio.create_task(watch.run())
    await until(lambda: "yesterday" in watch.health)
    (stage.directory / "epoch").write_text("1795609861")
    await until(stage.heartbeats)
    await end(task)
