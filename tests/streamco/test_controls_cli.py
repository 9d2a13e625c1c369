"""`streamco controls` on a real table: what is held is listed, and released by a name with a reason, once."""

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment
from made_legs import insert_parties

from streamco.cli import commands

pytestmark = pytest.mark.servers


def test_held_listed_and_released(tmp_path: Path, postgres_dsn: str) -> None:
    insert_parties(postgres_dsn)
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO control_actions (action_id, kind, control_id, control, peer_id, code, action, reason, since)"
            " VALUES ('termination/1/11/44/5', 'termination', 1, 'bad ASR', 11, '44', 'block', 'ASR 3 %', now())"
        )

    def run(*arguments: str, code: int = 0) -> Result:
        environment = {"STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}
        done = CliRunner().invoke(commands, ["controls", *arguments], env=environment)
        assert done.exit_code == code, done.output
        return done

    shown = run("list").output
    assert "block  danube 44: ASR 3 % (bad ASR); until it is released" in shown
    assert shown.endswith("1 actions\n")
    (one,) = json.loads(run("list", "--json").output)["actions"]
    assert (one["action_id"], one["peer"], one["released_by"]) == ("termination/1/11/44/5", "danube", None)
    assert "Missing option '--reason'" in run("release", one["action_id"], code=2).output
    assert "needs a name and a reason" in run("release", one["action_id"], "--reason", " ", code=1).output
    both = run("release", "nothing", one["action_id"], "--reason", "mended", "--by", "ada", code=1).output
    assert "'nothing': there is no such action" in both
    assert "termination/1/11/44/5: released" in both
    assert run("list").output == "0 actions\n"
    assert "by ada" in run("list", "--state", "released").output
    assert "released already, by ada" in run("release", one["action_id"], "--reason", "again", code=1).output
