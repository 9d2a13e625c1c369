"""Refusals before the dialplan on the real PostgreSQL: whose they are, how long they are kept, how they are shown."""

import json
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from command_role import command_environment
from made_legs import insert_parties
from refused_rows import refused_row

from sinks import edge_refusals
from sinks.edge_refusals import expire, list_edge_refusals, write
from streamco.cli import commands

pytestmark = pytest.mark.servers
DAY_MS = 86_400_000


@pytest.fixture
def connection(postgres_dsn: str) -> Any:
    insert_parties(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_the_peer_is_told_where_it_is_the_only_one(connection: psycopg.Connection[Any]) -> None:
    names = [row[0] for row in connection.execute("SELECT name FROM peers WHERE role = 'originator' ORDER BY peer_id")]
    connection.execute(
        "UPDATE peers SET host = '198.51.100.0/24', tech_prefix = peer_id::text WHERE role = 'originator'"
    )
    connection.execute("UPDATE peers SET host = '198.51.100.7' WHERE name = %s", (names[0],))
    connection.execute("UPDATE peers SET host = '198.51.100.9' WHERE role = 'terminator'")
    addresses = ("198.51.100.7", "198.51.100.8", "198.51.100.9", "2001:db8::1")
    write(connection, "ast1", [refused_row(one, at_ms=now_ms()) for one in addresses])
    found = {one.address: one.peer for one in list_edge_refusals(connection, 10, seconds=60)}
    others = names[1] if len(names) == 2 else None  # of several at one network nobody knows which it was
    assert found == {
        "198.51.100.7": names[0], "198.51.100.8": others, "198.51.100.9": others, "2001:db8::1": None,
    }  # fmt: skip


def test_what_is_old_goes_and_what_is_too_much(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(connection, "ast1", [refused_row("203.0.113.1", at_ms=now_ms() - 31 * DAY_MS)])
    write(connection, "ast1", [refused_row("203.0.113.2", at_ms=now_ms() - age * 1_000) for age in range(20)])
    assert expire(connection) == 1
    monkeypatch.setattr(edge_refusals, "MOST_ROWS", 5)
    assert expire(connection) == 15
    assert len(list_edge_refusals(connection, 100, seconds=3_600)) == 5
    assert expire(connection) == 0


def test_the_command_shows_them(connection: psycopg.Connection[Any], postgres_dsn: str, tmp_path: Path) -> None:
    write(connection, "ast1", [refused_row("203.0.113.1", at_ms=now_ms(), not_recorded=0)])
    write(connection, "ast2", [refused_row("203.0.113.2", at_ms=now_ms() - 2 * DAY_MS)])
    environment = {"STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(commands, ["edge-refusals", *arguments], env=environment)
        assert done.exit_code == code, done.output
        return done.output

    assert "ast1  203.0.113.1:5060  INVITE 488 Not Acceptable Here\n    abc@x\n1 refusals" in run()
    assert "(3 more of this source before)" in run("--hours", "72", "--address", "203.0.113.2")
    assert len(json.loads(run("--hours", "72", "--json"))["refusals"]) == 2
    assert "must be an address or a network" in run("--address", "nonsense", code=2)
