"""A user's own world in PostgreSQL: loaded twice it changes nothing, and with one fault nothing of it is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from configuration.load import load
from configuration.load.document import MAX_FILE_BYTES
from runtime.changing import WorldError
from schemas.channels import CONFIGURATION

pytestmark = pytest.mark.servers

TABLES = (
    "companies", "billing_packs", "destinations", "accounts", "account_balances", "route_classes", "decks", "nodes",
    "peers", "peer_nodes", "route_class_entries", "configuration_generation",
)  # fmt: skip
Load = Callable[[str], int]


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def _contents(dsn: str) -> list[list[tuple[Any, ...]]]:
    return [sorted(_rows(dsn, f"SELECT * FROM {table}"), key=str) for table in TABLES]


@pytest.fixture
def load_text(world_dsn: str, tmp_path: Path) -> Load:
    """Loads a YAML text over the world of `world_dsn`; how much it changed."""

    def load_it(text: str) -> int:
        path = tmp_path / "next.yaml"
        path.write_text(text, encoding="utf-8")
        return load(world_dsn, path).changed

    return load_it


def test_what_is_loaded_is_there(world_dsn: str) -> None:
    assert _rows(
        world_dsn,
        "SELECT p.name, role, host(host), endpoint, tech_prefix, a.name, k.name, d.name, r.name,"
        " minimum_margin::numeric(5,1)::text"
        " FROM peers p JOIN accounts a USING (account_id) JOIN billing_packs k USING (pack_id)"
        " JOIN decks d USING (deck_id) LEFT JOIN route_classes r USING (route_class_id) ORDER BY 1",
    ) == [
        ("acme", "originator", "192.0.2.10", "c-acme", "0044", "Acme prepaid", "Retail", "acme", "Standard", "0.0"),
        (
            "vendor-a",
            "terminator",
            "198.51.100.1",
            "v-vendor-a",
            "",
            "Vendor USD",
            "Wholesale",
            "vendor-a",
            None,
            "0.0",
        ),
        ("vendor-b", "terminator", "198.51.100.2", "v-vendor-b", "", "Vendor EUR", "Berlin", "vendor-b", None, "-0.5"),
        (
            "vendor-free",
            "terminator",
            "198.51.100.3",
            "v-vendor-free",
            "",
            "Vendor USD",
            "Free",
            "vendor-free",
            None,
            "0.0",
        ),
    ]
    assert _rows(
        world_dsn,
        "SELECT name, minimum_seconds, increment_seconds, free_seconds, connect_fee::text, time_zone"
        " FROM billing_packs ORDER BY 1",
    ) == [
        ("Berlin", 60, 60, 0, "0.000000", "Europe/Berlin"),
        ("Free", 1, 1, 3, "0.000000", "UTC"),
        ("Retail", 1, 1, 0, "0.000000", "UTC"),
        ("Wholesale", 30, 6, 0, "0.001000", "UTC"),
    ]
    assert _rows(
        world_dsn, "SELECT name, e.priority FROM route_class_entries e JOIN peers USING (peer_id) ORDER BY 1"
    ) == [
        ("vendor-a", 2),
        ("vendor-b", 1),
    ]
    assert _rows(world_dsn, "SELECT name, country FROM companies ORDER BY 1") == [("Acme", "NO"), ("Vendors", None)]
    assert _rows(world_dsn, "SELECT credit_limit::text FROM accounts WHERE name = 'Vendor EUR'") == [("0.000001",)]
    assert _rows(
        world_dsn,
        "SELECT p.name, n.name FROM peer_nodes JOIN peers p USING (peer_id) JOIN nodes n USING (node_id)",
    ) == [("vendor-a", "ast1")]
    assert _rows(world_dsn, "SELECT name FROM destinations WHERE code = '999'") == [("Test Range",)]


def test_loaded_twice_it_changes_and_announces_nothing(world_dsn: str, load_text: Load, world_yaml: str) -> None:
    before = _contents(world_dsn)
    with psycopg.connect(world_dsn, autocommit=True) as listener:
        listener.execute(f"LISTEN {CONFIGURATION}".encode())
        assert load_text(world_yaml) == 0
        assert list(listener.notifies(timeout=0.3)) == []
    assert _contents(world_dsn) == before


def test_only_what_differs_is_changed(world_dsn: str, load_text: Load, world_yaml: str) -> None:
    changed = (
        world_yaml.replace("{peer: vendor-a, priority: 2}, ", "")
        .replace("connect_fee: 0.001", "connect_fee: 0.002")
        .replace("nodes: [ast1]}", "nodes: []}")
        .replace("country: NO", "country: null")
    )
    assert load_text(changed) == 4
    assert _rows(world_dsn, "SELECT name FROM route_class_entries JOIN peers USING (peer_id)") == [("vendor-b",)]
    assert _rows(world_dsn, "SELECT connect_fee::text FROM billing_packs WHERE name = 'Wholesale'") == [("0.002000",)]
    assert _rows(world_dsn, "SELECT count(*) FROM peer_nodes") == [(0,)]
    assert _rows(world_dsn, "SELECT country FROM companies WHERE name = 'Acme'") == [(None,)]
    assert load_text(changed) == 0


def test_what_a_file_does_not_mention_stays(world_dsn: str, load_text: Load) -> None:
    peers = _rows(world_dsn, "SELECT * FROM peers ORDER BY 1")
    assert load_text("companies: [{name: Third}]") == 1
    assert _rows(world_dsn, "SELECT * FROM peers ORDER BY 1") == peers
    assert _rows(world_dsn, "SELECT count(*) FROM companies") == [(3,)]


def test_a_destination_that_the_user_has_named_stays(world_dsn: str, load_text: Load) -> None:
    with psycopg.connect(world_dsn) as connection:
        connection.execute("UPDATE destinations SET name = 'Mine' WHERE code = '44'")
        connection.execute("DELETE FROM destinations WHERE code = '49'")
    assert load_text("nodes: []") == 1
    assert _rows(world_dsn, "SELECT code, name FROM destinations WHERE code IN ('44', '49') ORDER BY 1") == [
        ("44", "Mine"),
        ("49", "Germany"),
    ]


def _peer(fields: str, company: str = "Acme", more: str = "") -> str:
    return f"companies: [{{name: {company}, {more} peers: [{{{fields}}}]}}]"


NEW = "name: new, role: originator, host: 192.0.2.77, pack: Retail, route_class: Standard"
P = "companies[0].peers[0]"
REFUSED = [
    (_peer(NEW.replace("Retail", "Gone")), f"{P}.pack 'Gone': there is none of that name"),
    (_peer(NEW.replace("Standard", "Gone")), f"{P}.route_class 'Gone': there is none of that name"),
    (_peer(NEW + ", account: Gone"), f"{P}.account 'Gone': there is none of that name"),
    (_peer(NEW + ", nodes: [ast1, gone]"), f"{P}.nodes[1] 'gone': there is none of that name"),
    (
        _peer(NEW.replace("originator", "terminator").replace(", route_class: Standard", ""), "Vendors"),
        f"{P}.account: the company has several vendor accounts, so the peer must name its account",
    ),
    (_peer(NEW, "Vendors"), f"{P}.account: the company has no customer accounts, so the peer must name its account"),
    (_peer(NEW + ", account: Vendor USD"), f"{P}: peer new: account Vendor USD belongs to another company"),
    (_peer(NEW + ", account: Vendor USD", "Vendors"), f"{P}: peer new: account Vendor USD is a vendor account"),
    (_peer(NEW.replace("Retail", "Berlin")), f"{P}: peer new: pack Berlin is in EUR, account Acme prepaid in USD"),
    (
        _peer(NEW.replace("192.0.2.77", "192.0.2.10") + ", tech_prefix: 0044"),
        f"{P}.host '192.0.2.10': another enabled originator has this address and tech prefix",
    ),
    (_peer(NEW + ", endpoint: c-acme"), f"{P}.endpoint 'c-acme': another peer has this endpoint"),
    (
        _peer("name: vendor-a, role: originator, host: 192.0.2.77, pack: Retail, route_class: Standard"),
        f"{P}.name 'vendor-a': belongs to another company already, and stays there",
    ),
    (
        "packs: [{name: Retail, currency: EUR, notation: 1/1}]",
        "packs[0].currency 'EUR': 'Retail' has 'USD' already, and keeps it",
    ),
    ("packs: [{name: X, currency: XXX, notation: 1/1}]", "packs[0].currency 'XXX': there is no such currency"),
    (
        "companies: [{name: Acme, accounts: [{name: More, kind: customer, currency: USD}]}]",
        "companies[0].accounts[0].currency 'USD': the company has an account of this kind and currency already",
    ),
    (
        "companies: [{name: Acme, accounts: [{name: Acme prepaid, kind: vendor, currency: USD}]}]",
        "companies[0].accounts[0].kind 'vendor': 'Acme prepaid' has 'customer' already, and keeps it",
    ),
    (
        "companies: [{name: Acme, accounts: [{name: Vendor USD, kind: vendor, currency: USD, payment: postpaid}]}]",
        "companies[0].accounts[0].name 'Vendor USD': belongs to another company already, and stays there",
    ),
    (
        "companies: [{name: Acme, accounts: [{name: cash GBP, kind: vendor, currency: GBP}]}]",
        "companies[0].accounts[0].name 'cash GBP': belongs to another company already, and stays there",
    ),
    (
        "route_classes: [{name: Standard, entries: [{peer: vendor-a}, {peer: acme}]}]",
        "route_classes[0].entries[1].peer 'acme': route_class_entries.peer_id",
    ),
    (
        "route_classes: [{name: Standard, entries: [{peer: gone}]}]",
        "route_classes[0].entries[0].peer 'gone': there is none of that name",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_the_database_refuses_is_told_by_field_and_nothing_is_changed(
    world_dsn: str, load_text: Load, text: str, message: str
) -> None:
    before = _contents(world_dsn)
    with pytest.raises(WorldError) as caught:
        load_text(f"{text}\nnodes: [ast1, another]")
    assert any(told.startswith(message) for told in caught.value.messages), caught.value.messages
    assert _contents(world_dsn) == before


def test_all_faults_are_told_at_once(world_dsn: str, load_text: Load) -> None:
    with pytest.raises(WorldError) as caught:
        load_text("packs: [{name: X, currency: XXX, notation: 1/1}, {name: Y, currency: YYY, notation: 1/1}]")
    assert list(caught.value.messages) == [
        "packs[0].currency 'XXX': there is no such currency",
        "packs[1].currency 'YYY': there is no such currency",
    ]


def test_files_that_cannot_be_read(postgres_dsn: str, tmp_path: Path) -> None:
    latin, large = tmp_path / "latin.yaml", tmp_path / "large.yaml"
    latin.write_bytes("companies: [{name: Müller}]".encode("latin-1"))
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for path, rule in (
        (tmp_path / "gone.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (latin, "is not UTF-8 (byte 20)"),
        (large, "8000001 bytes: a world has at most 8000000"),
    ):
        with pytest.raises(WorldError) as caught:
            load(postgres_dsn, path)
        assert rule in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_field(postgres_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_bytes("companies: [{name: Müller}]".encode("utf-8-sig"))
    load(postgres_dsn, path)
    assert _rows(postgres_dsn, "SELECT name FROM companies") == [("Müller",)]


def test_limits_of_codes_are_the_whole_list(world_dsn: str, load_text: Load) -> None:
    def limits() -> list[tuple[Any, ...]]:
        query = (
            "SELECT code, one.max_concurrent, one.max_cps FROM code_limits AS one JOIN peers USING (peer_id)"
            " WHERE name = 'acme'"
        )
        return sorted(_rows(world_dsn, query))

    peer = "name: acme, role: originator, host: 192.0.2.10, pack: Retail, route_class: Standard, account: Acme prepaid"
    text = "companies: [{{name: Acme, peers: [{{" + peer + ", tech_prefix: '0044', code_limits: [{}]}}]}}]"
    company = _rows(world_dsn, "SELECT c.name FROM companies c JOIN peers p USING (company_id) WHERE p.name = 'acme'")
    text = text.replace("name: Acme,", f"name: {company[0][0]},")
    load_text(text.format("{code: 44, max_concurrent: 5}, {code: 447, max_cps: 2}"))
    assert limits() == [("44", 5, 0), ("447", 0, 2)]
    assert load_text(text.format("{code: 447, max_cps: 3}")) == 2
    assert limits() == [("447", 0, 3)]
    assert load_text(text.format("{code: 447, max_cps: 3}")) == 0
