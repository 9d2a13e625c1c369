"""The router's refusals for want of room: by node, by itself, and what was known last while PostgreSQL is away."""

from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from agent.counters import Counters
from agent.settings import AgentSettings
from router.server.disks import Disks
from router.server.silent_nodes import STATEMENT, SilentNodes
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres
from schemas.refusals import Refusal


def settings(directory: Path, reserve_bytes: int) -> RouterSettings:
    postgres = Postgres(dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none"))
    return RouterSettings(
        snapshot=SnapshotSettings(postgres=postgres, directory=directory / "snapshot"),
        kafka=Kafka(bootstrap="127.0.0.1:9"),
        spool=directory / "spool.sqlite",
        agi_secret=SecretStr("a secret"),
        disk_reserve_bytes=reserve_bytes,
    )


class Nodes:
    """What PostgreSQL says."""

    def __init__(self) -> None:
        self.low: frozenset[str] = frozenset()
        self.away = False

    async def read(self) -> frozenset[str]:
        if self.away:
            raise psycopg.OperationalError("away")
        return self.low


async def test_a_nodes_calls_are_refused_while_its_disk_is_low_and_postgres_away_changes_nothing(
    tmp_path: Path,
) -> None:
    nodes = Nodes()
    disks = Disks(settings(tmp_path, 1 << 20), nodes.read)
    assert (disks.refusal("ast1"), disks.said) == (None, "")
    nodes.low = frozenset({"ast1"})
    await disks.look()
    assert disks.refusal("ast1") is Refusal.NODE_DISK_FULL
    assert disks.refusal("ast2") is None
    assert disks.said == "DISK NEARLY FULL on ast1"
    nodes.away = True
    await disks.look()
    assert disks.refusal("ast1") is Refusal.NODE_DISK_FULL
    nodes.away, nodes.low = False, frozenset()
    await disks.look()
    assert disks.refusal("ast1") is None


async def test_a_router_without_room_refuses_every_call(tmp_path: Path) -> None:
    disks = Disks(settings(tmp_path, 1 << 50), Nodes().read)
    await disks.look()
    assert disks.refusal("ast1") is Refusal.ROUTER_DISK_FULL
    assert disks.said.startswith("DISK NEARLY FULL under the router: ")


async def test_silent_nodes_are_said_and_postgres_away_changes_nothing() -> None:
    found: list[list[tuple[str, int]] | Exception] = [[], [("ast2", 31)], psycopg.OperationalError("away"), []]

    async def read() -> list[tuple[str, int]]:
        now = found.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    nodes = SilentNodes(read)
    said = []
    for _ in range(4):
        await nodes.look()
        said.append(nodes.said)
    silent = "not heard of: ast2 for 31 s: prepaid calls from there are refused"
    assert said == ["", silent, silent, ""]


@pytest.mark.servers
def test_who_is_silent_by_postgres(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn.get_secret_value()) as connection:
        connection.execute("""
            INSERT INTO nodes (name, last_seen_at) VALUES ('never', NULL), ('fresh', now()),
                ('silent', now() - interval '40 s'), ('gone', now() - interval '2 days')""")
        ((name, seconds),) = connection.execute(STATEMENT).fetchall()
    assert (name, 40 <= seconds <= 60) == ("silent", True)


@pytest.mark.servers
def test_an_agent_takes_back_what_an_agent_elsewhere_has_left(postgres: Postgres, tmp_path: Path) -> None:
    """Its row is told anew until it is its own."""
    dsn = postgres.dsn.get_secret_value()
    agent = AgentSettings(
        node="ast1",
        directory=tmp_path,
        kafka=Kafka(bootstrap="127.0.0.1:9"),
        postgres=postgres,
        ami_secret=SecretStr("right-secret"),
        disk_reserve_bytes=1 << 20,
    )
    with psycopg.connect(dsn, autocommit=True) as connection:

        def row() -> tuple[str | None, bool]:
            found = connection.execute("SELECT agent_id, disk_low_since IS NOT NULL FROM nodes").fetchone()
            assert found is not None
            return found[0], found[1]

        connection.execute("INSERT INTO nodes (name, agent_id, disk_low_since) VALUES ('ast1', 'other', now())")
        counters = Counters(agent, "mine")
        counters._tell(connection)
        assert row() == ("other", True)
        connection.execute("UPDATE nodes SET agent_id = 'mine'")  # as it is when the name was claimed
        counters._tell(connection)
        assert row() == ("mine", False)
        full = Counters(agent.model_copy(update={"disk_reserve_bytes": 1 << 50}), "mine")
        full._tell(connection)
        assert row() == ("mine", True)
