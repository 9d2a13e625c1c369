"""Rules of numbers from a world's file through PostgreSQL into a snapshot, and back in decisions."""

from pathlib import Path

import numpy
import psycopg
import pytest

from billing.prices.load import load_deck
from configuration.load import load, load_pool
from router.build.builder import Builder
from router.core import Decision, Request, World, candidates, decide
from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.manifest import read_pointer
from runtime.connections import Postgres
from schemas.refusals import Refusal

pytestmark = pytest.mark.servers
NOW_MS = 1_795_609_900_000
WORLD = """
packs: [{name: Retail, currency: USD, notation: 1/1}]
route_classes: [{name: All, entries: [{peer: plus}, {peer: narrow}, {peer: broken}]}]
pools: [fraud numbers, our callers]
companies:
  - name: Acme
    accounts: [{name: Acme USD, kind: customer, currency: USD}]
    peers:
      - name: acme
        role: originator
        host: 192.0.2.10
        pack: Retail
        route_class: All
        tech_prefix: 77
        country_code: 49
        national_prefix: 0
        trusted: true
        translations: {callee: [{pattern: '^011', replacement: '+'}], caller: [{pattern: '^5', replacement: '+491515'}]}
        blocks: [{callee: 4479, reason: revenue share}, {zone: {country: FR}}, {callee_pool: fraud numbers}]
  - name: Vendors
    accounts: [{name: Vendor USD, kind: vendor, currency: USD, payment: postpaid}]
    peers:
      - name: plus
        role: terminator
        host: 198.51.100.1
        pack: Retail
        translations: {callee: [{pattern: '^', replacement: '+'}], caller: [{pattern: '^49', replacement: '0'}]}
      - name: narrow
        role: terminator
        host: 198.51.100.2
        pack: Retail
        tech_prefix: 9
        allow_only: [caller]
        blocks: [{caller: 4915, action: allow}]
      - name: broken
        role: terminator
        host: 198.51.100.3
        pack: Retail
        translations: {callee: [{pattern: '4$', replacement: x}]}
blocks: [{caller: 4930999}, {callee: 4977, until: '2020-01-01T00:00:00Z'}]
"""


def ask(dsn: str, directory: Path, callee: str, caller: str = "515551234", **more: str) -> Decision:
    settings = SnapshotSettings(postgres=Postgres(dsn=dsn), directory=directory)
    with psycopg.connect(dsn, autocommit=True) as connection:
        Builder(settings, lambda: NOW_MS).step(connection)
    snapshot = store.load(directory, read_pointer(directory).name)
    request = Request("c-acme", "192.0.2.10:5060", callee, caller, **more)
    return decide(World(snapshot), request, NOW_MS, expected_seconds=settings.expected_call_seconds)


@pytest.fixture
def dsn(postgres_dsn: str, tmp_path: Path) -> str:
    (tmp_path / "world.yaml").write_text(WORLD)
    load(postgres_dsn, tmp_path / "world.yaml")
    for peer, price in {"acme": "0.02", "plus": "0.01", "narrow": "0.011", "broken": "0.012"}.items():
        (tmp_path / "deck.csv").write_text(f"code,price\n49,{price}\n44,{price}\n33,{price}\n")
        load_deck(postgres_dsn, peer, tmp_path / "deck.csv")
    (tmp_path / "pool.csv").write_text("number\n4915112345678\n4930000001\n")
    load_pool(postgres_dsn, "fraud numbers", tmp_path / "pool.csv")
    return postgres_dsn


def test_a_national_number_goes_out_as_each_vendor_wants_it(dsn: str, tmp_path: Path) -> None:
    decision = ask(dsn, tmp_path / "s", "7703012345")
    assert (decision.refusal, decision.inbound.callee, decision.inbound.caller) == (None, "493012345", "49151515551234")
    sent = {route.vendor.name: (route.sent.callee, route.sent.caller) for route in decision.routes}
    assert sent == {
        "plus": ("+493012345", "0151515551234"), "narrow": ("493012345", "49151515551234"),
        "broken": ("493012345", "49151515551234"),
    }  # fmt: skip


def test_a_vendor_whose_patterns_make_no_number_is_left_out_by_name(dsn: str, tmp_path: Path) -> None:
    decision = ask(dsn, tmp_path / "s", "770301234", "030 77")
    verdicts = {one.vendor: (one.verdict, one.detail) for one in candidates(decision)}
    assert verdicts["broken"] == ("BAD TRANSLATION", "callee '4930123x': must be up to 20 digits after the patterns")
    assert verdicts["narrow"] == ("BLOCKED", "caller prefix: not among those allowed")
    assert verdicts["plus"][0] == "TAKEN"


@pytest.mark.parametrize(
    ("callee", "caller", "detail"),
    [
        ("7701144795", "515551234", "callee prefix 4479: revenue share"),
        ("770033123456", "515551234", "zone 'FR'"),
        ("77004915112345678", "515551234", "callee pool 'fraud numbers'"),
        ("7703012345", "03099912", "caller prefix 4930999"),
    ],
)
def test_each_block_is_named(dsn: str, tmp_path: Path, callee: str, caller: str, detail: str) -> None:
    decision = ask(dsn, tmp_path / "s", callee, caller)
    assert (decision.refusal, decision.inbound.detail) == (Refusal.BLOCKED, detail)


def test_what_has_ended_blocks_no_more(dsn: str, tmp_path: Path) -> None:
    assert ask(dsn, tmp_path / "s", "77004977123").refusal is None


def test_a_pool_is_written_again_only_when_its_version_moves(dsn: str, tmp_path: Path) -> None:
    directory = tmp_path / "s"
    ask(dsn, directory, "7703012345")
    (first,) = (directory / "pools").glob("pool-*.npy")
    written = first.stat().st_mtime_ns
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE peers SET ring_seconds = 30 WHERE name = 'plus'")
    ask(dsn, directory, "7703012345")
    assert first.stat().st_mtime_ns == written
    (tmp_path / "pool.csv").write_text("number\n493012345\n")
    load_pool(dsn, "fraud numbers", tmp_path / "pool.csv")
    assert ask(dsn, directory, "7703012345").inbound.detail == "callee pool 'fraud numbers'"
    assert len(list((directory / "pools").glob("pool-*.npy"))) == 2
    newest = max((directory / "pools").glob("pool-*.npy"), key=lambda path: path.stat().st_mtime_ns)
    assert numpy.load(newest).tolist() == [493012345 * 16 + 9]
