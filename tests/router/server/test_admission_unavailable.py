"""PostgreSQL killed while calls go on: who is refused, who is not, and that all of it is held when it is back."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from agi_client import SECRET, ask, header
from pydantic import SecretStr
from small_world import make_small_world

from runtime.migrations import migrate_postgres
from schemas.events import CallEnded
from schemas.facts import decode_facts
from simulator import ami_messages
from simulator.ami_messages import Channel
from simulator.ami_server import AmiServer
from sinks.ledger import Ledger
from streamco.embedded.postgres import postgres_server
from streamco.embedded.settings import PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streams.folds.rating import rate_leg

pytestmark = pytest.mark.servers
NUMBER = "447700900123"
ROUTER = """
import sys
from router.server.main import run
from router.settings import RouterSettings
run(RouterSettings.model_validate_json(sys.argv[1]))
"""
AGENT = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Stage:
    """A PostgreSQL of its own, a router, a fake node with its AMI, and an agent beside it."""

    def __init__(self, servers: TemporaryServers, directory: Path) -> None:
        self.servers = servers
        self.directory = directory
        settings = PostgresServer(
            directory=servers.directory / "postgres", port=free_port(), password=SecretStr(password())
        )
        self.server = postgres_server(settings)
        self.postgres = servers.start(self.server)
        migrate_postgres(settings.connection)
        self.dsn = settings.connection.dsn.get_secret_value()
        self.channels: list[Channel] = []
        self.cut: list[tuple[str, int]] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.router_port = free_port()
        (directory / "node" / "journal").mkdir(parents=True)
        (directory / "node" / "epoch").write_text("1795609861\n")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            self.world = make_small_world(connection, balance=Decimal("0.2"))
            connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
            connection.execute(
                "INSERT INTO route_class_entries (route_class_id, peer_id)"
                " SELECT route_class_id, %s FROM route_classes",
                (self.world.terminator,),
            )
            connection.execute("UPDATE accounts SET when_database_away = 'allow' WHERE name = 'Buyer USD'")

    def spawn(self, name: str, program: str, values: dict[str, Any]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            argv = [sys.executable, "-c", program, json.dumps(values)]
            self.running.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def start(self, ami_port: int) -> None:
        kafka = {"bootstrap": "127.0.0.1:9"}
        self.spawn("router", ROUTER, {
            "snapshot": {"postgres": {"dsn": self.dsn}, "directory": str(self.directory / "snapshot")},
            "kafka": kafka, "spool": str(self.directory / "spool.sqlite"), "port": self.router_port,
            "beat": str(self.directory / "router.beat"), "admission_seconds": 0.3, "agi_secret": SECRET,
        })  # fmt: skip
        self.spawn("agent", AGENT, {
            "node": "ast1", "directory": str(self.directory / "node"), "kafka": kafka, "postgres": {"dsn": self.dsn},
            "ami_port": ami_port, "ami_secret": "right-secret", "heartbeat_seconds": 0.2, "retry_seconds": 0.2,
        })  # fmt: skip

    async def call(self, number: int) -> dict[str, str]:
        """A call that is answered at once: its variables. As in a node, its channel is there before its route."""
        started_ms = now_ms()
        call_id = f"ast1-1795609861-{started_ms // 1000:010d}.{number}"
        channel = Channel(
            name=f"PJSIP/c-buyer-{number:08x}", unique_id="1.1", linked_id="1.1", call_id=call_id, leg="",
            context="call", extension=NUMBER, number="12125550123", connected_number="", created_at_ms=started_ms,
            state=ami_messages.RING,
        )  # fmt: skip
        self.channels.append(channel)
        started = f"{started_ms / 1000:.3f}"
        answer = await ask(
            self.router_port, header(call_id, "c-buyer", "127.0.0.10:5060", NUMBER, "12125550123", started)
        )
        assert answer is not None
        if answer["DECISION"] == "ALLOW":
            channel.state, channel.variables = ami_messages.UP, dict(answer)
        else:
            self.channels.remove(channel)
        return {**answer, "call_id": call_id}

    def hang_up(self, name: str, cause: int) -> bool:
        self.cut.append((name, cause))
        self.channels = [channel for channel in self.channels if channel.name != name]
        return True

    def money(self) -> tuple[Decimal, Decimal, int, int]:
        """(held, Σ holds, holds, concurrent)"""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(
                "SELECT (SELECT sum(held) FROM account_balances), coalesce(sum(amount), 0), count(*),"
                " (SELECT coalesce(sum(concurrent), 0) FROM peer_counters) FROM holds"
            ).fetchone()
            assert row is not None
            return row

    def kill_postgres(self) -> None:
        self.postgres.kill()
        self.postgres.wait()

    def start_postgres(self) -> None:
        self.postgres = self.servers.start(self.server)

    async def until(self, what: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(what):
            said = [(self.directory / f"{name}.log").read_text()[-2500:] for name in ("router", "agent")]
            assert all(process.poll() is None for process in self.running), said
            assert time.monotonic() < deadline, said
            await asyncio.sleep(0.05)


@pytest.fixture
def servers() -> Iterator[TemporaryServers]:
    with TemporaryServers() as servers:
        yield servers


@pytest.fixture
async def stage(servers: TemporaryServers, tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(servers, tmp_path)
    ami = AmiServer(
        node="ast1", user="agent", secret="right-secret", channels=lambda: list(made.channels), hang_up=made.hang_up,
        now_ms=now_ms,
    )  # fmt: skip
    made.start(await ami.start("127.0.0.1", 0))
    await made.until((tmp_path / "router.beat").exists)
    yield made
    for process in made.running:
        process.terminate()
    for process in made.running:
        assert await asyncio.to_thread(process.wait, 20) == 0
    await ami.stop()


async def test_what_was_admitted_while_postgres_was_away_is_held_when_it_is_back(stage: Stage) -> None:
    before = await stage.call(1)
    assert before["DECISION"] == "ALLOW"
    assert stage.money() == (Decimal("0.06"), Decimal("0.06"), 1, 1)
    stage.kill_postgres()
    during = [await stage.call(number) for number in (2, 3)]
    assert [answer["DECISION"] for answer in during] == ["ALLOW", "ALLOW"]  # by the account's policy
    assert {answer["MAX_MS"] for answer in during} == {"14400000"}
    await asyncio.sleep(1)
    assert len(stage.channels) == 3  # calls in progress are not harmed
    assert stage.cut == []
    stage.start_postgres()
    await stage.until(lambda: stage.money()[2:] == (3, 3))
    held, total, _, _ = stage.money()
    # The first was written without waiting for the disk: it is still there, or has been placed like the others.
    assert held == total == 3 * Decimal("0.06")
    await asyncio.sleep(1)
    assert stage.money() == (held, total, 3, 3)  # again and again changes nothing
    async with await psycopg.AsyncConnection.connect(stage.dsn, autocommit=True) as connection:
        started_ms = int(before["call_id"].split("-")[2].split(".")[0]) * 1000
        for answer in (before, *during):
            call_id = answer["call_id"]
            stage.channels.pop(0)
            ended = CallEnded(
                event_id=f"{call_id}/0:call_ended", call_id=call_id, call_started_at_ms=started_ms,
                started_at_ms=started_ms, answered_at_ms=started_ms, ended_at_ms=started_ms + 5_000, duration_ms=5_000,
                asterisk_duration_ms=5_000, clock_disagreement=False, pdd_ms=1, dial_status="ANSWER", cause=16,
                release_side="caller", legs=0, reason="", caller_dialled="", callee_dialled="", endpoint="",
                remote_address="", facts=decode_facts(answer["CALL_FACTS"]), last_facts=None,
            )  # fmt: skip
            await Ledger(connection).post([rate_leg(ended)])
    await asyncio.sleep(1)
    assert stage.money() == (0, 0, 0, 0)


async def test_prepaid_is_refused_while_postgres_is_away_and_its_calls_go_on(stage: Stage) -> None:
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE accounts SET payment = 'prepaid', when_database_away = 'refuse' WHERE name = 'Buyer USD'"
        )
        seen = "SELECT count(*) FROM nodes WHERE name = 'ast1' AND last_seen_at > now() - interval '2 seconds'"
        await stage.until(lambda: connection.execute(seen).fetchone() == (1,))
    await stage.until((stage.directory / "router.beat").exists)
    await asyncio.sleep(1)  # the router has the change
    assert (await stage.call(1))["DECISION"] == "ALLOW"
    stage.kill_postgres()
    answer = await stage.call(2)
    assert (answer["DECISION"], answer["REASON"]) == ("REFUSE", "DATABASE UNAVAILABLE")
    await asyncio.sleep(1)
    assert (len(stage.channels), stage.cut) == (1, [])
    stage.start_postgres()
    await stage.until(lambda: stage.money()[2:] == (1, 1))
    # Its agent is heard again at the next status, and then calls are admitted again.
    deadline = time.monotonic() + 10
    while (await stage.call(3))["DECISION"] != "ALLOW":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
