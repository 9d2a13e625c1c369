"""The example of docs/operations.md, step by step: what a user types there works."""

import time
from pathlib import Path

import psycopg
import pytest

from billing.payments import pay
from billing.prices.load import load_deck
from configuration.asterisk.reader import read_peers
from configuration.load import load
from router.build.builder import Builder
from router.core import Request, World, decide
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.manifest import read_pointer
from runtime.connections import Postgres
from schemas.refusals import Refusal

pytestmark = pytest.mark.servers
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_the_example_world_is_a_world_in_which_a_call_is_billed(postgres_dsn: str) -> None:
    assert load(postgres_dsn, EXAMPLES / "world.yaml").changed > 0
    assert load(postgres_dsn, EXAMPLES / "world.yaml").changed == 0
    assert load_deck(postgres_dsn, "acme", EXAMPLES / "acme.csv").rows == 3
    assert load_deck(postgres_dsn, "voicebridge", EXAMPLES / "voicebridge.csv").rows == 4
    assert str(pay(postgres_dsn, "Acme prepaid", "100.00", "bank transfer 4711").balance) == "100.000000"
    with psycopg.connect(postgres_dsn) as connection:
        peers = {peer.name: peer for peer in read_peers(connection, "ast1")}
    assert (peers["acme"].role, peers["acme"].host) == ("originator", "192.0.2.10")
    assert (peers["voicebridge"].role, peers["voicebridge"].host, peers["voicebridge"].port) == (
        "terminator",
        "198.51.100.7",
        5060,
    )


def test_the_example_of_everything_routes_the_first_call_of_the_guide(postgres_dsn: str, tmp_path: Path) -> None:
    """`check-routing --from acme --callee +447700900123`, with the prices that the file's head says to load."""
    result = load(postgres_dsn, EXAMPLES / "routing.yaml")
    assert (result.changed > 0, result.warnings) == (True, ())
    assert load(postgres_dsn, EXAMPLES / "routing.yaml").changed == 0
    for peer, file in {"acme": "acme", "meridian": "voicebridge", "kestrel": "voicebridge"}.items():
        load_deck(postgres_dsn, peer, EXAMPLES / f"{file}.csv")
    settings = SnapshotSettings(postgres=Postgres(dsn=postgres_dsn), directory=tmp_path)
    now_ms = time.time_ns() // 1_000_000
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        Builder(settings, lambda: now_ms).step(connection)
    world = World(store.load(tmp_path, read_pointer(tmp_path).name))

    def verdict(callee: str) -> tuple[Refusal | None, str, set[str]]:
        request = Request("c-acme", "192.0.2.10:5060", callee, "")
        decision = decide(world, request, now_ms, expected_seconds=180)
        return decision.refusal, decision.inbound.detail, {route.vendor.name for route in decision.routes}

    refusal, detail, vendors = verdict("+447700900123")
    assert (refusal, detail) == (None, "")
    assert "kestrel" in vendors
    assert verdict("+12125550100")[0] is None  # an exception under 4479 closes nothing else
    assert verdict("+447900123456")[:2] == (Refusal.BLOCKED, "callee prefix 4479")
    assert verdict("+447990123456")[0] is None
