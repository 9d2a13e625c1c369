"""Hunting in a world's file: release tables and the peers' fields, as the router reads them, and what is refused."""

from pathlib import Path

import psycopg
import pytest

from configuration.entities.document import DEFAULT_PDD_SECONDS
from configuration.load import load
from configuration.load.document import parse_world
from router.build.reader import read_config
from runtime.changing import WorldError

TABLES = """
release_tables:
  - name: Vendor A
    rules:
      - {of: 17, action: continue}
      - {of: sip 404, action: stop, caller_cause: 1}
      - {of: no answer, action: stop}
  - name: Acme hears
    rules: [{of: no progress, action: continue, caller_cause: 42}, {of: "34", action: stop}]
companies:
  - name: Acme
    peers:
      - name: acme
        role: originator
        host: 192.0.2.10
        pack: Retail
        route_class: Standard
        tech_prefix: 0044
        release_table: Acme hears
        max_setup_seconds: 45
        ringback: generate
  - name: Vendors
    peers:
      - name: vendor-a
        role: terminator
        host: 198.51.100.1
        pack: Wholesale
        account: Vendor USD
        nodes: [ast1]
        release_table: Vendor A
        huntstop: true
        pdd_timeout_seconds: 7
"""
PACK = "packs: [{name: P, currency: USD, notation: 1/1}]\n"


@pytest.mark.servers
def test_what_is_loaded_reaches_the_router(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "hunting.yaml"
    path.write_text(TABLES)
    assert load(world_dsn, path).changed > 0
    assert load(world_dsn, path).changed == 0
    with psycopg.connect(world_dsn) as connection:
        peers = {peer.name: peer for peer in read_config(connection, 0).peers}
    acme, vendor, other = peers["acme"], peers["vendor-a"], peers["vendor-b"]
    assert (acme.release_rules, acme.max_setup_seconds, acme.ringback) == ("-34-s-np-c42", 45, "generate")
    assert (vendor.release_rules, vendor.huntstop, vendor.pdd_timeout_seconds) == ("-17-c-na-s-404-s1", True, 7)
    assert (other.release_rules, other.huntstop, other.pdd_timeout_seconds) == ("", False, DEFAULT_PDD_SECONDS)
    assert acme.pdd_timeout_seconds == 0
    assert (other.max_setup_seconds, other.ringback) == (120, "pass")


@pytest.mark.servers
def test_the_rules_are_the_whole_list(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "hunting.yaml"
    path.write_text(TABLES)
    load(world_dsn, path)
    path.write_text("release_tables: [{name: Vendor A, rules: [{of: 17, action: stop}]}]")
    assert load(world_dsn, path).changed == 3  # one changed, two gone
    with psycopg.connect(world_dsn) as connection:
        peers = {peer.name: peer for peer in read_config(connection, 0).peers}
    assert peers["vendor-a"].release_rules == "-17-s"


@pytest.mark.servers
def test_a_change_of_rules_is_a_change_of_the_configuration(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "hunting.yaml"
    path.write_text(TABLES)
    load(world_dsn, path)
    with psycopg.connect(world_dsn, autocommit=True) as connection:
        before = read_config(connection, 0).generation
        connection.execute("UPDATE release_rules SET action = 'stop' WHERE kind = 'cause' AND code = 17")
        assert read_config(connection, 0).generation == before + 1


@pytest.mark.servers
def test_an_unknown_table_is_told_by_its_name(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "hunting.yaml"
    path.write_text(TABLES.replace("release_table: Vendor A", "release_table: Nobody"))
    with pytest.raises(WorldError, match=r"peers\[0\]\.release_table 'Nobody': there is none of that name"):
        load(world_dsn, path)


@pytest.mark.servers
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO release_rules (release_table_id, kind, code, action) VALUES (1, 'cause', 0, 'stop')",
        "INSERT INTO release_rules (release_table_id, kind, code, action) VALUES (1, 'sip', 200, 'stop')",
        "INSERT INTO release_rules (release_table_id, kind, code, action) VALUES (1, 'no_answer', 1, 'stop')",
        "INSERT INTO release_rules (release_table_id, kind, code, action) VALUES (1, 'cause', 9, 'maybe')",
        "INSERT INTO release_rules (release_table_id, kind, code, action, caller_cause)"
        " VALUES (1, 'cause', 9, 'stop', 128)",
        "INSERT INTO release_rules (release_table_id, kind, code, action)"
        " SELECT 1, 'sip', 300 + n, 'stop' FROM generate_series(0, 100) AS n",
        "UPDATE peers SET huntstop = true WHERE role = 'originator'",
        "UPDATE peers SET pdd_timeout_seconds = 3 WHERE role = 'originator'",
        "UPDATE peers SET pdd_timeout_seconds = 301 WHERE role = 'terminator'",
        "UPDATE peers SET max_setup_seconds = 1",
        "UPDATE peers SET ringback = 'generate' WHERE role = 'terminator'",
    ],
)
def test_the_database_refuses_nonsense(world_dsn: str, statement: str) -> None:
    with psycopg.connect(world_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO release_tables (release_table_id, name) VALUES (1, 'T')")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("release_tables: [{name: T, rules: [{of: 0, action: stop}]}]", "of '0': must be 1 to 127"),
        ("release_tables: [{name: T, rules: [{of: 404, action: stop}]}]", "of '404': must be 1 to 127"),
        ("release_tables: [{name: T, rules: [{of: sip 200, action: stop}]}]", "of 'sip 200': must be 300 to 699"),
        ("release_tables: [{name: T, rules: [{of: busy, action: stop}]}]", "rules[0].of 'busy'"),
        ("release_tables: [{name: T, rules: [{of: 17, action: go}]}]", "rules[0].action 'go'"),
        ("release_tables: [{name: T, rules: [{of: 17, action: stop, caller_cause: 0}]}]", "caller_cause 0: "),
        (
            "release_tables: [{name: T, rules: [{of: 17, action: stop}, {of: 17, action: stop}]}]",
            "rules: '17' is there twice",
        ),
        ("release_tables: [{name: T}, {name: T}]", "release_tables: 'T' is there twice"),
        (
            "companies: [{name: C, peers: [{name: v, role: terminator, host: 192.0.2.1, pack: P,"
            " ringback: generate}]}]",
            "ringback 'generate': is for peers that are originator",
        ),
        (
            "companies: [{name: C, peers: [{name: c, role: originator, host: 192.0.2.1, pack: P, route_class: R,"
            " huntstop: true}]}]",
            "huntstop True: is for peers that are terminator",
        ),
    ],
)
def test_each_fault_of_a_file_is_named(text: str, message: str) -> None:
    with pytest.raises(WorldError) as caught:
        parse_world(PACK + text)
    assert message in str(caught.value)
