"""The line up to Kafka on real parts: a seeded world, the router's process, two simulated nodes, an agent for each.

Every line that the simulator has journalled arrives, every call was decided, and when all calls are over none is
counted as going on.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from agi_client import SECRET

from runtime.connections import Kafka
from schemas.agi_digest import node_key_text
from schemas.events import CallEnded, LegEnded, LegRinging, LegStarted, NodeHeartbeat, encode_event
from schemas.ids import make_leg_id, node_of
from schemas.topics import CALLS, DEAD_LETTERS, DECISIONS, NODES
from simulator.market.seed import seed
from sinks.audit.full.sources import read_journals, read_topic
from streamco.embedded.temporary import free_port
from streamco.embedded.temporary_users import as_user, values_of

pytestmark = pytest.mark.servers
PROGRAMS = {
    "router": ("router.server.main", "router.settings", "RouterSettings"),
    "agent": ("agent.main", "agent.settings", "AgentSettings"),
    "simulator": ("simulator.main", "simulator.settings", "SimulatorSettings"),
}
NODE_NAMES = ("sim1", "sim2")


class Line:
    """Processes of one line, and where they are."""

    def __init__(self, directory: Path, dsn: str, kafka: Kafka) -> None:
        self.directory = directory
        self.dsn = dsn
        self.kafka = kafka
        self.router_port = free_port()
        self.ami_ports = {node: free_port() for node in NODE_NAMES}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, name: str, values: dict[str, Any]) -> subprocess.Popen[bytes]:
        module, settings_module, settings = PROGRAMS[program]
        code = (
            f"import sys; from {module} import run; from {settings_module} import {settings}\n"
            f"run({settings}.model_validate_json(sys.argv[1]))"
        )
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-c", code, json.dumps(values)], stdout=log, stderr=log)
        self.running.append(process)
        return process

    def said(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()[-4_000:]

    def start_router(self) -> None:
        beat = self.directory / "router.beat"
        snapshot = {"postgres": {"dsn": self.dsn}, "directory": str(self.directory / "snapshot")}
        values = {
            "snapshot": snapshot,
            "kafka": values_of(as_user(self.kafka, "router")),
            "port": self.router_port,
            "spool": str(self.directory / "spool.sqlite"),
            "agi_secret": SECRET,
            "beat": str(beat),
        }
        process = self.start("router", "router", values)
        deadline = time.monotonic() + 30
        while not beat.exists():
            assert process.poll() is None, self.said("router")
            assert time.monotonic() < deadline, self.said("router")
            time.sleep(0.05)

    def start_agents(self) -> list[subprocess.Popen[bytes]]:
        return [
            self.start(
                "agent",
                f"agent-{node}",
                {
                    "node": node,
                    "directory": str(self.directory / node),
                    "kafka": values_of(as_user(self.kafka, "agent")),
                    "postgres": {"dsn": self.dsn},
                    "ami_port": port,
                    "ami_secret": "right-secret",
                    "heartbeat_seconds": 0.5,
                    "ami_retry_seconds": 0.1,
                },
            )
            for node, port in self.ami_ports.items()
        ]

    def simulate(self, **options: Any) -> dict[str, Any]:
        nodes = [
            {
                "name": node,
                "ami_port": port,
                "directory": str(self.directory / node),
                "agi_key": node_key_text(SECRET, node),
            }
            for node, port in self.ami_ports.items()
        ]
        values = {
            "postgres": {"dsn": self.dsn},
            "nodes": nodes,
            "router_port": self.router_port,
            "ami_secret": "right-secret",
            **options,
        }
        process = self.start("simulator", "simulator", values)
        assert process.wait(60) == 0, self.said("simulator")
        summary: dict[str, Any] = json.loads(self.said("simulator").splitlines()[-1])
        return summary

    def legs_in_kafka(self) -> set[str]:
        return {
            make_leg_id(event.call_id, event.leg if isinstance(event, LegEnded) else 0)
            for event in read_topic(self.kafka, CALLS)
            if isinstance(event, LegEnded | CallEnded)
        }

    def closed_by_estimate(self) -> dict[str, set[bytes]]:
        """What closed each leg by estimate: more than one text would be two stories."""
        found: dict[str, set[bytes]] = {}
        for event in read_topic(self.kafka, CALLS):
            if isinstance(event, LegEnded | CallEnded) and event.estimated:
                found.setdefault(event.event_id.rpartition(":")[0], set()).add(encode_event(event))
        return found

    def until(self, what: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, [self.said(f"agent-{node}") for node in NODE_NAMES]
            time.sleep(0.2)


@pytest.fixture
def line(tmp_path: Path, postgres_dsn: str, kafka: Kafka) -> Iterator[Line]:
    seed(postgres_dsn, "small", 1)
    made = Line(tmp_path, postgres_dsn, kafka)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in made.running:
        process.wait(20)


def test_every_line_of_every_node_arrives_and_no_call_is_left_counted(line: Line) -> None:
    line.start_router()
    agents = line.start_agents()
    summary = line.simulate(cps=60, seconds=6, talk_seconds=4, incidents=["vendor-down@2s"])
    assert summary["calls"] > 200
    assert summary["legs"] > summary["calls"]
    journals, undecodable = read_journals({node: line.directory / node / "journal" for node in NODE_NAMES})
    assert undecodable == 0
    assert len(journals) == summary["legs"]
    line.until(lambda: line.legs_in_kafka() == set(journals))
    assert list(read_topic(line.kafka, DEAD_LETTERS)) == []
    ended = [event for event in read_topic(line.kafka, CALLS) if isinstance(event, CallEnded)]
    asked = {event.call_id for event in ended if event.reason != "ROUTER UNAVAILABLE"}
    assert len(asked) > 200
    line.until(lambda: asked <= {event.call_id for event in read_topic(line.kafka, DECISIONS)})
    assert any(event.duration_ms for event in ended)
    assert {node_of(event.call_id) for event in ended} == set(NODE_NAMES)
    assert any(isinstance(event, LegRinging) for event in read_topic(line.kafka, CALLS))
    beats = [event for event in read_topic(line.kafka, NODES) if isinstance(event, NodeHeartbeat)]
    assert max(len(beat.calls) for beat in beats) > 10
    assert any(call.answered for beat in beats for call in beat.calls)
    with psycopg.connect(line.dsn, autocommit=True) as connection:

        def counted() -> tuple[int, int]:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM holds WHERE counted),"
                " (SELECT coalesce(sum(concurrent), 0) FROM peer_counters)"
            ).fetchone()
            assert row is not None
            return int(row[0]), int(row[1])

        line.until(lambda: counted() == (0, 0))
    for agent in agents:
        agent.terminate()
        assert agent.wait(20) == 0


def test_the_calls_of_crashed_nodes_are_closed_once_each(line: Line) -> None:
    """Both nodes crash, one of them twice, and one agent is killed meanwhile."""
    line.start_router()
    agents = line.start_agents()
    crashes = ["node-crash:sim1@9s", "node-crash:sim2@10s", "node-crash:sim1@16s"]
    summary = line.simulate(cps=30, seconds=19, talk_seconds=15, incidents=crashes)
    assert summary["crashed_nodes"] == ["sim1", "sim2", "sim1"]
    agents[0].kill()  # it may have been at it
    agents[0].wait()
    journals, undecodable = read_journals({node: line.directory / node / "journal" for node in NODE_NAMES})
    assert undecodable == 0
    # What the last crash left is closed when the agent has seen the start after it: that of this run.
    line.simulate(cps=5, seconds=3, talk_seconds=1)
    agents += line.start_agents()[:1]
    journals, undecodable = read_journals({node: line.directory / node / "journal" for node in NODE_NAMES})

    def opened() -> set[str]:
        started = [event for event in read_topic(line.kafka, CALLS) if isinstance(event, LegStarted)]
        return {make_leg_id(event.call_id, leg) for event in started for leg in (0, event.leg)}

    line.until(lambda: set(journals) <= line.legs_in_kafka())
    line.simulate(cps=5, seconds=5, talk_seconds=1)
    line.until(lambda: opened() <= line.legs_in_kafka())
    estimates = line.closed_by_estimate()
    journals, undecodable = read_journals({node: line.directory / node / "journal" for node in NODE_NAMES})
    # Beside what the journals opened and nothing closed: calls that died with their node before any line of theirs.
    unseen = set(estimates) - (opened() - set(journals))
    assert opened() - set(journals) <= set(estimates)
    assert unseen.isdisjoint(journals)
    assert all(json.loads(*estimates[leg])["reason"] == "NODE DIED" for leg in unseen)
    assert len(estimates) - len(unseen) > 20
    assert {len(told) for told in estimates.values()} == {1}
    assert any(json.loads(*told)["duration_ms"] > 0 for told in estimates.values())
    assert list(read_topic(line.kafka, DEAD_LETTERS)) == []
    for agent in agents[1:]:
        agent.terminate()
        assert agent.wait(20) == 0
