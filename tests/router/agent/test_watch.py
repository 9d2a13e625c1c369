"""The watch on a fake node: heartbeats, new epochs, the node's own clock, and sessions that end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from router.agent.watch import Watch
from schemas.events import NodeHeartbeat, NodeRestarted
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer

CALL = "sim1-1795609861-1795609900.12"
HOUR_MS = 3_600_000
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
        self.known_epoch = 0
        self.server = self.make_server()
        self.port = 0

    @staticmethod
    def node_now_ms() -> int:
        return time.time_ns() // 1_000_000 - HOUR_MS

    def make_server(self) -> AmiServer:
        return AmiServer(
            node="sim1", user="agent", secret="right-secret", channels=lambda: [self.channel],
            hang_up=lambda _name, _cause: True, now_ms=self.node_now_ms,
        )  # fmt: skip

    def watch(self, secret: str = RIGHT) -> Watch:
        settings = self.settings_of(
            self.directory, ami_port=self.port, ami_secret=secret, heartbeat_seconds=0.05, ami_retry_seconds=0.02
        )
        return Watch(
            settings,
            self.counters,  # type: ignore[arg-type]
            agent_id="host-1",
            put=self.put,
            journal=lambda: (10, 20),
            known_epoch=lambda: self.known_epoch,
        )

    def put(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, NodeRestarted):
            self.known_epoch = event.epoch

    def heartbeats(self) -> list[NodeHeartbeat]:
        return [event for event in self.events if isinstance(event, NodeHeartbeat)]

    def restarts(self) -> list[tuple[int, int]]:
        return [(event.previous_epoch, event.epoch) for event in self.events if isinstance(event, NodeRestarted)]


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
    stage.server = stage.make_server()
    await stage.server.start("127.0.0.1", stage.port)
    await until(lambda: stage.heartbeats()[-1].epoch == 1_795_609_999)
    assert stage.restarts() == [(0, 1_795_609_861), (1_795_609_861, 1_795_609_999)]
    assert watch.health == "AMI is there"
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
