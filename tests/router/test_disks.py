"""The router's refusals for want of room: by node, by itself, and what was known last while PostgreSQL is away."""

from pathlib import Path

import psycopg
from pydantic import SecretStr

from router.disks import Disks
from router.settings import RouterSettings, SnapshotSettings
from schemas.connections import Kafka, Postgres
from schemas.refusals import Refusal


def settings(directory: Path, reserve_bytes: int) -> RouterSettings:
    postgres = Postgres(dsn=SecretStr("postgresql://nobody@127.0.0.1:9/none"))
    return RouterSettings(
        snapshot=SnapshotSettings(postgres=postgres, directory=directory / "snapshot"),
        kafka=Kafka(bootstrap="127.0.0.1:9"),
        spool=directory / "spool.sqlite",
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
