"""F14, the router's explanations: Kafka is away and the disk under the spool is full. Calls go on; each decision either
comes to Kafka when it is back, or is among those that the router counts as lost.
"""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from resource import RLIM_INFINITY

import psycopg
import pytest
from agi_client import ask, header
from fault_line import FaultLine
from fault_servers import FaultServers
from prometheus_client.parser import text_string_to_metric_families
from small_world import add_route, make_small_world

from schemas.events import CallRouted
from schemas.topics import DECISIONS
from sinks.audit.full.sources import read_topic
from streamco.embedded.temporary import free_port
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.servers]
# Room for the process's metrics, and for a few decisions in the spool's file.
FULL_BYTES = 64 << 10


class Calls:
    """A router that is asked for calls, one by one."""

    def __init__(self, line: FaultLine) -> None:
        self.line = line
        self.port = free_port()
        self.epoch = int(time.time())
        self.made: list[str] = []
        self._metrics = line.beat_path("router").with_suffix(".prom")

    def call(self) -> None:
        """One call, which is routed as if nothing were wrong."""
        self.made.append(f"ast1-{self.epoch}-{int(time.time()):010d}.{len(self.made) + 1}")
        sent = header(self.made[-1], "c-buyer", "127.0.0.10:5060", "447700900123", "12125550123")
        answer = asyncio.run(ask(self.port, sent))
        assert answer is not None
        assert (answer["DECISION"], answer["REASON"]) == ("ALLOW", "")

    def call_and_see(self) -> bool:
        """One more call; is its decision in Kafka soon?"""
        self.call()
        time.sleep(1)
        return self.made[-1] in self.arrived()

    def told_at(self) -> float:
        """When the router last said its numbers."""
        return self._metrics.stat().st_mtime if self._metrics.exists() else 0.0

    def lost(self) -> int:
        """The decisions that the router says it could not write, as of `told_at`."""
        families = text_string_to_metric_families(self._metrics.read_text()) if self._metrics.exists() else ()
        name = "streamco_router_decisions_unwritten_total"
        return sum(int(one.value) for family in families for one in family.samples if one.name == name)

    def call_until_lost(self, count: int) -> bool:
        """One more call; were so many decisions lost by now?"""
        self.call()
        return self.lost() >= count

    def arrived(self) -> set[str]:
        """The calls whose decisions are in Kafka."""
        return {one.call_id for one in read_topic(self.line.kafka, DECISIONS) if isinstance(one, CallRouted)}


@pytest.fixture
def calls(tmp_path: Path, fault_servers: FaultServers) -> Iterator[Calls]:
    line = FaultLine(tmp_path, *fault_servers.fresh())
    with psycopg.connect(line.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        add_route(connection, make_small_world(connection, credit_limit=Decimal(100)))
    made = Calls(line)
    line.start_router(made.port, disk_reserve_bytes=1 << 20)
    line.until((line.beat_path("router")).exists)
    yield made
    line.close()


def test_decisions_that_neither_kafka_nor_the_disk_takes_are_counted(calls: Calls, fault_servers: FaultServers) -> None:
    line = calls.line
    calls.call()
    line.until(lambda: calls.arrived() == set(calls.made))

    # The first wait in the file until it is full; the others are lost.
    line.may_write("router", FULL_BYTES)
    fault_servers.kill("kafka")
    line.until(lambda: calls.call_until_lost(3))

    fault_servers.start("kafka")
    line.until(lambda: calls.call_and_see())  # the disk is still full: those from here on need no file
    line.may_write("router", RLIM_INFINITY)
    for _ in range(2):
        calls.call()
        line.until(lambda: calls.made[-1] in calls.arrived())
    away = set(calls.made[1:-2])
    lost = set(calls.made) - calls.arrived()
    messages = [one.call_id for one in read_topic(line.kafka, DECISIONS)]
    assert len(messages) == len(set(messages)), "what cannot be deleted yet is not sent again"
    assert lost < away, "none has waited in the file, or one is lost that Kafka could take"
    told_at = time.time()
    line.until(lambda: calls.told_at() > told_at)
    assert calls.lost() == len(lost)
    report("F14 decisions, Kafka and the spool's disk take none", 1, len(calls.made), 0, f"{len(lost)} lost, counted")
