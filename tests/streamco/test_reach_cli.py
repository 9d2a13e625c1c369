"""`streamco reachability` and the lines of `streamco status` on a real table."""

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment
from made_legs import insert_parties

from sinks.reachability import Report, report, report_probes
from streamco.cli import commands
from streamco.reach_cli import status_lines
from streamco.settings import read_settings

pytestmark = pytest.mark.servers


def test_vendors_by_node_with_the_age_of_what_is_known(
    tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_parties(postgres_dsn)
    environment = {"STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}

    def run(*arguments: str) -> Result:
        done = CliRunner().invoke(commands, ["reachability", *arguments], env=environment)
        assert done.exit_code == 0, done.output
        return done

    assert run().output == "0 vendors that are not simply reachable\n"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO nodes (name, last_seen_at) VALUES ('ast1', now()), ('ast2', now())")
        report(connection, "ast1", [Report(11, 3, 65_000, None, 20_000)])
        report(connection, "ast2", [Report(11, 0, None, 2_000, None)])
    (line, last) = run().output.splitlines()
    assert line.startswith("skipped     danube on ast1: skipped: 3 INVITEs in a row without a response (1:05 ago)")
    assert "tried again in " in line
    assert last == "1 vendors that are not simply reachable"
    assert "danube on ast2: answers (0:02 ago)" in run("--all").output
    assert "ast1" not in run("--all", "--node", "ast2").output
    (one,) = json.loads(run("--json").output)["vendors"]
    assert (one["node"], one["vendor"], one["state"], one["silent_invites"]) == ("ast1", "danube", "skipped", 3)
    assert 64 < one["age_seconds"] < 100
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("UPDATE peers SET probe = true WHERE peer_id = 11")
        report_probes(connection, "ast2", [(11, "unreachable")])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found, lines = status_lines(read_settings())
    assert [(one.node, one.state) for one in found] == [("ast1", "skipped"), ("ast2", "unreachable")]
    assert "danube on ast2: skipped: its OPTIONS probes are not answered" in lines[1]
    monkeypatch.setenv("STREAMCO_POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/nothing")
    assert status_lines(read_settings()) == ([], ["vendors            not known: PostgreSQL does not answer"])
