"""The node agent beside the real Asterisk: its journal in Kafka, and AMI as Asterisk really speaks it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from journal_events import events_of
from real_calls import until
from real_line import CALLER, ONE_AT_A_TIME, Line

from runtime.connections import Kafka
from schemas.events import CallEnded, LegEnded, LegRinging, NodeHeartbeat
from schemas.topics import CALLS, DEAD_LETTERS, NODES, Topic
from simulator.sipp import scenarios
from sinks.audit.full.sources import read_topic
from streamco.embedded.temporary_users import as_user, values_of

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""


@pytest.fixture
def agent(own_line: Line, kafka: Kafka) -> Iterator[subprocess.Popen[bytes]]:
    """An agent of the node."""
    values = {
        "node": "ast1",
        "directory": str(own_line.directory / "node"),
        "kafka": values_of(as_user(kafka, "agent")),
        "postgres": {"dsn": own_line.dsn},
        "ami_port": own_line.ami_port,
        "ami_secret": "right-secret",
        "heartbeat_seconds": 0.3,
        "beat": str(own_line.directory / "agent.beat"),
    }
    with (own_line.directory / "agent.out").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    yield process
    process.terminate()
    assert process.wait(20) == 0, (own_line.directory / "agent.out").read_text()[-3000:]


def events(kafka: Kafka, topic: Topic) -> list[Any]:
    return list(read_topic(kafka, topic))


def test_the_agent_follows_asterisk(own_line: Line, kafka: Kafka, agent: subprocess.Popen[bytes]) -> None:
    until(lambda: bool(events(kafka, NODES)), "a heartbeat")
    placed = own_line.call("followed", "999210000010", scenarios.caller_talks(CALLER, 3_000), ONE_AT_A_TIME)
    until(lambda: "SIP/2.0 200 OK" in placed.received, "the call is answered")

    def heartbeats() -> list[Any]:
        return [event for event in events(kafka, NODES) if isinstance(event, NodeHeartbeat) and event.calls]

    until(lambda: any(call.answered for beat in heartbeats() for call in beat.calls), "a heartbeat shows the call")
    active = next(call for beat in heartbeats() for call in beat.calls if call.answered)
    assert active.leg == 1
    with psycopg.connect(own_line.dsn, autocommit=True) as connection:
        counted = "SELECT concurrent FROM peer_counters JOIN peers USING (peer_id) WHERE name = 'sipp-customer-3'"
        assert connection.execute(counted).fetchone() == (1,)
        placed.wait()
        until(lambda: connection.execute(counted).fetchone() == (0,), "the call is not counted any more")
    call = own_line.calls_of([placed.address])[placed.address]
    assert call.ended.call_id == active.call_id
    journal = events_of(own_line.journal.read_bytes().splitlines())
    wanted = {event.event_id for event in journal}

    def arrived() -> set[str]:
        return {event.event_id for event in events(kafka, CALLS) if not isinstance(event, LegRinging)}

    until(lambda: arrived() == wanted, "every line of the journal is in Kafka")
    ringing = [event for event in events(kafka, CALLS) if isinstance(event, LegRinging)]
    assert [(event.call_id, event.leg) for event in ringing] == [(call.ended.call_id, 1)]
    closed = [event for event in events(kafka, CALLS) if isinstance(event, LegEnded | CallEnded)]
    assert [event for event in closed if event.call_id == call.ended.call_id] == [*call.legs, call.ended]
    assert events(kafka, DEAD_LETTERS) == []
