"""Acts whose deed is a file's or Kafka's are written down once they are done; without PostgreSQL a line says so."""

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment

from runtime.kafka_readers import Reader
from runtime.user_acts import list_acts
from streamco.cli import commands
from streamco.person import account


def run(home: Path, dsn: str, *arguments: str, code: int = 0) -> Result:
    environment = {"STREAMCO_HOME": str(home), **command_environment(dsn)}
    done = CliRunner().invoke(commands, list(arguments), env=environment)
    assert done.exit_code == code, done.output
    return done


@pytest.mark.servers
def test_each_act_is_written_with_whose_it_is(
    tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kafka_readers.add_reader", lambda *_: (Reader("bi", ("rated-legs",)), "a password"))
    monkeypatch.setattr("runtime.kafka_readers.remove_reader", lambda *_: None)
    made = run(tmp_path, postgres_dsn, "analyst", "add", "ada", "--json")
    assert made.stderr == ""
    for act in ("password", "disable", "enable", "remove"):
        run(tmp_path, postgres_dsn, "analyst", act, "ada")
    run(tmp_path, postgres_dsn, "analyst", "remove", "ada", code=1)
    run(tmp_path, postgres_dsn, "change-agi-secret")
    run(tmp_path, postgres_dsn, "kafka-reader", "add", "bi", "--topic", "rated-legs")
    run(tmp_path, postgres_dsn, "kafka-reader", "remove", "bi")
    with psycopg.connect(postgres_dsn) as connection:
        acts = list(reversed(list_acts(connection, 50)))
    assert [(one.area, one.act, one.subject) for one in acts] == [
        *(("analysts", act, "ada") for act in ("add", "password", "disable", "enable", "remove")),
        ("nodes", "change secret", "routers"),
        ("kafka readers", "add", "bi"),
        ("kafka readers", "remove", "bi"),
    ]
    assert {(one.person, one.via, one.origin) for one in acts} == {(account(), "command", account())}
    assert json.loads(made.stdout)["password"] not in str(acts)
    assert "a password" not in str(acts)


def test_somebody_is_locked_out_while_postgresql_is_away(tmp_path: Path) -> None:
    away = {"STREAMCO_HOME": str(tmp_path), "STREAMCO_POSTGRES_DSN": "postgresql://127.0.0.1:1/none"}
    for act, told in (("add", "login:"), ("disable", "ada: disabled")):
        done = CliRunner().invoke(commands, ["analyst", act, "ada"], env=away)
        assert done.exit_code == 0
        assert told in done.stdout
        assert done.stderr.startswith("done, but not written down among the acts of users: ")
        assert len(done.stderr.splitlines()) == 1
