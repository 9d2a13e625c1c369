"""The agent as a process on the real Kafka and PostgreSQL, beside a fake node: kill -9, servers away, a second one."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from small_world import make_small_world

from runtime.connections import Kafka
from runtime.topics import make_topics
from schemas.frame import partition_of
from schemas.journal import encode_line
from schemas.topics import CALLS, DEAD_LETTERS, NODES, Topic
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer
from sinks import holds
from sinks.audit.full.sources import read_topic
from streamco.embedded.kafka import kafka_server
from streamco.embedded.settings import KafkaServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import as_user, make_users, values_of

pytestmark = pytest.mark.servers
PROGRAM = """
import json, sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""


class Agent:
    """An agent process of node sim1."""

    def __init__(self, directory: Path, kafka: Kafka, dsn: str, ami_port: int, **changes: Any) -> None:
        self.directory = directory
        self.beat = directory / "beat"
        values = {
            "node": "sim1",
            "directory": str(directory),
            "kafka": values_of(as_user(kafka, "agent")),
            "postgres": {"dsn": dsn},
            "ami_port": ami_port,
            "ami_secret": "right-secret",
            "beat": str(self.beat),
            "heartbeat_seconds": 0.3,
            "ami_retry_seconds": 0.1,
            "retry_seconds": 0.2,
        }
        values |= changes
        with (directory / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stderr=log, stdout=log)

    def said(self) -> str:
        return (self.directory / "log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(15) == 0, self.said()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "sim1" / "journal").mkdir(parents=True)
    (tmp_path / "sim1" / "epoch").write_text("1795609861\n")
    return tmp_path / "sim1"


@pytest.fixture
def start(directory: Path, kafka: Kafka, postgres_dsn: str) -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def begin(ami_port: int = 9, dsn: str = postgres_dsn, at: Kafka = kafka, **changes: Any) -> Agent:
        agents.append(Agent(directory, at, dsn, ami_port, **changes))
        return agents[-1]

    yield begin
    for agent in agents:
        if agent.process.poll() is None:
            agent.kill()


def until(what: Callable[[], bool], agent: Agent, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert agent.process.poll() is None, agent.said()
        assert time.monotonic() < deadline, agent.said()
        time.sleep(0.05)


async def until_async(what: Callable[[], Any], agent: Agent, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(what)):
        assert agent.process.poll() is None, agent.said()
        assert time.monotonic() < deadline, agent.said()
        await asyncio.sleep(0.05)
    return found


def events(kafka: Kafka, topic: Topic = CALLS) -> list[Any]:
    return list(read_topic(kafka, topic))


def test_kill_9_at_any_moment_loses_no_line_and_keeps_their_order(
    start: Callable[..., Agent], directory: Path, kafka: Kafka, line_of: Any, event_id_of: Any
) -> None:
    journal = directory / "journal" / "Master.csv"
    written = 0
    agent = start()
    for turn in range(8):
        with journal.open("ab", buffering=0) as file:
            for _ in range(400):
                file.write(line_of(written))
                written += 1
        if turn == 3:
            journal.rename(journal.with_name("Master.csv.1"))
        time.sleep(0.07 * turn)  # from before its first round to long after
        agent.kill()
        agent = start()
    with journal.open("ab") as file:
        file.write(b"garbage\n" + line_of(written)[:50])
    until(lambda: len({event.event_id for event in events(kafka)}) == written, agent)
    with journal.open("ab") as file:
        file.write(line_of(written)[50:])
    written += 1
    until(lambda: len({event.event_id for event in events(kafka)}) == written, agent)
    agent.end()
    by_partition: dict[int, dict[int, None]] = {}
    for event in events(kafka):
        number = int(event.call_id.rpartition(".")[2])
        by_partition.setdefault(partition_of(event.call_id, kafka.partitions), {})[number] = None
    assert all(list(numbers) == sorted(numbers) for numbers in by_partition.values())  # by their first arrival
    assert {event.event_id for event in events(kafka)} == {event_id_of(number) for number in range(written)}
    letters = {letter.origin for letter in events(kafka, DEAD_LETTERS)}
    assert len(letters) == 1
    state = json.loads((directory / "agent.json").read_text())
    assert sum(mark["offset"] for mark in state["files"]) == sum(
        path.stat().st_size for path in (directory / "journal").iterdir()
    )


def test_a_second_agent_on_the_journal_is_refused(start: Callable[..., Agent]) -> None:
    first = start()
    until(first.beat.exists, first)
    second = start()
    assert second.process.wait(15) != 0
    assert f"another agent (process {first.process.pid}) reads" in second.said()
    assert first.process.poll() is None


def test_without_kafka_the_journal_waits_and_the_beat_says_so(
    start: Callable[..., Agent], directory: Path, kafka: Kafka, line_of: Any
) -> None:
    (directory / "journal" / "Master.csv").write_bytes(b"".join(line_of(number) for number in range(30)))
    agent = start(at=Kafka(bootstrap=f"127.0.0.1:{free_port()}"))
    until(lambda: agent.beat.exists() and "Kafka is away" in agent.beat.read_text(), agent)
    assert json.loads(agent.beat.read_text())["ok"] is False
    assert not (directory / "agent.json").exists()
    agent.end()
    agent = start()
    until(lambda: len(events(kafka)) == 30, agent)


def test_kafka_killed_in_mid_stream_costs_time_and_nothing_else(
    directory: Path, postgres_dsn: str, line_of: Any, event_id_of: Any
) -> None:
    with TemporaryServers() as servers:
        settings = KafkaServer(
            directory=servers.directory / "kafka",
            port=free_port(),
            controller_port=free_port(),
            password=SecretStr(password()),
        )
        server = kafka_server(settings)
        broker = servers.start(server)
        kafka = settings.connection()
        make_topics(kafka)
        make_users(kafka)
        agent = Agent(directory, kafka, postgres_dsn, 9)
        written = 0
        try:
            until(agent.beat.exists, agent)
            with (directory / "journal" / "Master.csv").open("ab", buffering=0) as journal:
                for turn in range(60):
                    for _ in range(50):
                        journal.write(line_of(written))
                        written += 1
                    time.sleep(0.05)
                    if turn == 20:
                        broker.kill()
                        broker.wait()
            until(lambda: "Kafka is away" in agent.beat.read_text(), agent, seconds=30)
            servers.start(server)
            until(lambda: '"ok": true' in agent.beat.read_text(), agent, seconds=60)
            until(lambda: len({event.event_id for event in events(kafka)}) == written, agent)
            assert {event.event_id for event in events(kafka)} == {event_id_of(number) for number in range(written)}
            agent.end()
        finally:
            if agent.process.poll() is None:
                agent.kill()


def channel(call_id: str, leg: str, state: int) -> Channel:
    now_ms = time.time_ns() // 1_000_000
    return Channel(
        name=f"PJSIP/{call_id}-{leg}", unique_id="sim1-1.1", linked_id="sim1-1.1", call_id=call_id, leg=leg,
        context="c", extension="1", number="2", connected_number="", created_at_ms=now_ms - 85_000, state=state,
    )  # fmt: skip


async def test_ami_serves_the_live_view_the_counters_and_the_holds(
    start: Callable[..., Agent], kafka: Kafka, postgres_dsn: str
) -> None:
    calls = [f"sim1-1795609861-1795609900.{number}" for number in range(4)]
    up, hung, missing, ringing = calls
    now_ms = time.time_ns() // 1_000_000
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        world = make_small_world(connection, credit_limit=1000)  # type: ignore[arg-type]
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
        for call_id in calls:
            hold = holds.Hold(
                call_id, "sim1", world.originator, world.customer_account, 60, 1, 60,
                holds.Terms(100_000_000, 0, 0, 1, 6),
                (holds.CallLimit(f"p{world.originator}", 0, 0),), now_ms - 100_000, now_ms + 3_600_000,
            )  # fmt: skip
            assert (await holds.admit(connection, hold)).outcome == "ADMITTED"
    channels = [channel(call, "", ami_messages.UP) for call in (up, hung)]
    channels += [channel(ringing, "", ami_messages.RING), channel(ringing, "1", ami_messages.DOWN)]
    server = AmiServer(
        node="sim1", user="agent", secret="right-secret", channels=lambda: channels,
        hang_up=lambda _name, _cause: True, now_ms=lambda: time.time_ns() // 1_000_000,
    )  # fmt: skip
    port = await server.start("127.0.0.1", 0)
    agent = start(ami_port=port)

    def heartbeats() -> list[Any]:
        return [event for event in events(kafka, NODES) if type(event).__name__ == "NodeHeartbeat"]

    def counted() -> set[str]:
        with psycopg.connect(postgres_dsn) as connection:
            return {row[0] for row in connection.execute("SELECT call_id FROM holds WHERE counted").fetchall()}

    beat = (await until_async(heartbeats, agent))[-1]
    assert {(call.call_id, call.leg, call.answered) for call in beat.calls} == {
        (up, 0, True), (hung, 0, True), (ringing, 1, False)
    }  # fmt: skip
    assert beat.epoch == 1_795_609_861
    restarted = [event for event in events(kafka, NODES) if type(event).__name__ == "NodeRestarted"]
    assert [(event.epoch, event.previous_epoch) for event in restarted] == [(1_795_609_861, 0)]
    await until_async(lambda: counted() == {up, hung, ringing}, agent)  # `missing` is not there
    with psycopg.connect(postgres_dsn) as connection:
        covered = dict(connection.execute("SELECT call_id, covered_seconds FROM holds").fetchall())
        assert covered == {up: 120, hung: 120, missing: 60, ringing: 60}  # 85 s of talk and more, and a margin
        row = connection.execute("SELECT agent_id, epoch FROM nodes WHERE name = 'sim1'").fetchone()
        assert row is not None
        assert row[1] == 1_795_609_861
    gone = channels.pop(1)
    server.send_event(ami_messages.channel_event("Hangup", "sim1", gone, now_ms, 16))
    channels[-1].state = ami_messages.RINGING
    server.send_event(ami_messages.channel_event("Newstate", "sim1", channels[-1], now_ms))
    await until_async(lambda: counted() == {up, ringing}, agent)
    await until_async(lambda: [event.event_id for event in events(kafka)] == [f"{ringing}/1:leg_ringing"], agent)
    await server.stop()  # AMI away: the process and its beat stay well
    await until_async(lambda: "AMI" in json.loads(agent.beat.read_text())["detail"], agent)
    again = await AmiServer.start(server, "127.0.0.1", port)
    assert again == port
    count = len(heartbeats())
    await until_async(lambda: len(heartbeats()) > count, agent)
    await server.stop()
    await asyncio.to_thread(agent.end)


async def test_what_no_end_will_release_is_swept_and_a_call_that_is_up_never(
    start: Callable[..., Agent], directory: Path, postgres_dsn: str
) -> None:
    """0 is up (and past its expiry), 1 died without a line, 2 has its end in the journal, 3 has expired."""
    now_ms = time.time_ns() // 1_000_000
    calls = [f"sim1-{now_ms // 1000 - 200:010d}-{now_ms // 1000 - 100:010d}.{number}" for number in range(4)]
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        world = make_small_world(connection, credit_limit=1000)  # type: ignore[arg-type]
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as asynchronous:
        for number, call_id in enumerate(calls):
            hold = holds.Hold(
                call_id, "sim1", world.originator, world.customer_account, 60, 1, 60,
                holds.Terms(6_000_000, 0, 0, 1, 6),
                (holds.CallLimit(f"p{world.originator}", 0, 0),), now_ms - 100_000,
                now_ms + (3_600_000 if number in (1, 2) else -1_000),
            )  # fmt: skip
            assert (await holds.admit(asynchronous, hold)).outcome == "ADMITTED"
    line = encode_line("CALL_END", "1795609900.140221", {"call": calls[2]})
    (directory / "journal" / "Master.csv").write_bytes(line)
    channels = [channel(calls[0], "", ami_messages.UP)]
    server = AmiServer(
        node="sim1", user="agent", secret="right-secret", channels=lambda: channels,
        hang_up=lambda _name, _cause: True, now_ms=lambda: time.time_ns() // 1_000_000,
    )  # fmt: skip
    port = await server.start("127.0.0.1", 0)
    agent = start(ami_port=port, sweep_seconds=0.5, gone_seconds=1)

    def held() -> set[str]:
        with psycopg.connect(postgres_dsn) as connection:
            return {row[0] for row in connection.execute("SELECT call_id FROM holds").fetchall()}

    await until_async(lambda: held() == {calls[0], calls[2]}, agent)
    await asyncio.sleep(1.5)
    assert held() == {calls[0], calls[2]}
    with psycopg.connect(postgres_dsn) as connection:
        swept = connection.execute("SELECT call_id, why FROM swept_holds ORDER BY call_id").fetchall()
        assert swept == [(calls[1], "no end in the journal"), (calls[3], "expired")]
        expired = connection.execute("SELECT count(*) FROM holds WHERE expires_at < now()").fetchone()
        assert expired == (0,)
        row = connection.execute("SELECT sum(amount), min(held) FROM holds JOIN account_balances USING (account_id)")
        total, in_all = row.fetchone() or (0, 1)
        assert total == in_all
    assert agent.said().count("hold swept") == 2
    await server.stop()
    await asyncio.to_thread(agent.end)


async def test_postgres_away_and_a_name_that_another_holds(
    start: Callable[..., Agent], directory: Path, kafka: Kafka, postgres_dsn: str, line_of: Any
) -> None:
    server = AmiServer(
        node="sim1", user="agent", secret="right-secret", channels=list,
        hang_up=lambda _name, _cause: True, now_ms=lambda: time.time_ns() // 1_000_000,
    )  # fmt: skip
    port = await server.start("127.0.0.1", 0)
    away = start(ami_port=port, dsn=f"host=127.0.0.1 port={free_port()} user=x dbname=x")
    (directory / "journal" / "Master.csv").write_bytes(line_of(1))
    await until_async(lambda: len(events(kafka)) == 1, away)
    await until_async(lambda: away.beat.exists() and "PostgreSQL is away" in away.beat.read_text(), away)
    assert json.loads(away.beat.read_text())["ok"] is True
    await asyncio.to_thread(away.end)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO nodes (name, agent_id, last_seen_at) VALUES ('sim1', 'elsewhere', now())")
    refused = start(ami_port=port)
    assert await asyncio.to_thread(refused.process.wait, 15) != 0
    assert "another agent holds this name" in refused.said()
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("UPDATE nodes SET last_seen_at = now() - interval '20 s'")
    taken = start(ami_port=port)
    await until_async(lambda: taken.beat.exists() and "PostgreSQL is there" in taken.beat.read_text(), taken)
    await server.stop()
    await asyncio.to_thread(taken.end)
