"""Exchange rates: costs at the rate in force, and the next rate's generation ready before its moment."""

from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from billing.prices.load import load_deck
from configuration.load import load
from router.build.builder import Builder
from router.build.rates import next_rate_ms, rates_at
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.manifest import read_pointer
from runtime.connections import Postgres

pytestmark = pytest.mark.servers

NEXT_MS = 1_798_761_600_000  # 2027-01-01
WORLD = """
system_currency: USD
exchange_rates:
  - {currency: EUR, effective_from: 2026-01-01T00:00:00Z, rate: 1.05}
  - {currency: EUR, effective_from: 2027-01-01T00:00:00Z, rate: 1.15}
packs: [{name: EUR, currency: EUR, notation: 1/1}]
companies:
  - name: Vendor
    accounts: [{name: Vendor EUR, kind: vendor, currency: EUR, payment: postpaid}]
    peers: [{name: euro, role: terminator, host: 198.51.100.2, pack: EUR}]
"""


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def test_the_next_rate_is_ready_before_its_moment(postgres_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(WORLD, encoding="utf-8")
    load(postgres_dsn, path)
    (tmp_path / "euro.csv").write_text("code,price\n44,0.01\n", encoding="utf-8")
    load_deck(postgres_dsn, "euro", tmp_path / "euro.csv")
    settings = SnapshotSettings(postgres=Postgres(dsn=SecretStr(postgres_dsn)), directory=tmp_path / "snapshots")
    clock = Clock(NEXT_MS - 60_000)
    builder = Builder(settings, clock)

    def cost_e8(at_ms: int) -> int:
        snapshot = store.load(settings.directory, store.newest(settings.directory, at_ms))
        return snapshot.matrices[0].cost[snapshot.index.find("447700900123")]

    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        builder.step(connection)
        assert builder.built is not None
        assert builder.built.next_change_at_ms == NEXT_MS
        assert read_pointer(settings.directory).next_from_ms == NEXT_MS
        assert (cost_e8(NEXT_MS - 1), cost_e8(NEXT_MS)) == (1_050_000, 1_150_000)
        clock.now_ms = NEXT_MS
        builder.step(connection)
        assert builder.built.rates == {"USD": (1, 1), "EUR": (23, 20)}
        assert builder.built.next_change_at_ms is None
    assert rates_at(builder.built, NEXT_MS - 1)["EUR"] == (21, 20)
    assert next_rate_ms(builder.built, NEXT_MS - 1) == NEXT_MS
