"""`streamco analyst`: a login is made, shown, disabled and removed; its password is shown once."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamco.cli import commands
from streamco.clickhouse_access.register import Register, matches

NOWHERE = "postgresql://127.0.0.1:1/none"
SERVER = {"STREAMCO_CLICKHOUSE_URL": "http://ch:8123", "STREAMCO_CLICKHOUSE_PASSWORD": "long enough"}


def run(home: Path, *arguments: str, code: int = 0, more: dict[str, str] | None = None) -> Result:
    environment = {"STREAMCO_HOME": str(home), "STREAMCO_POSTGRES_DSN": NOWHERE, **(more or {})}
    done = CliRunner().invoke(commands, ["analyst", *arguments], env=environment)
    assert done.exit_code == code, done.output
    return done


def test_a_login_from_its_making_to_its_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = json.loads(run(home, "add", "ada", "--json").stdout)
    assert {name: made[name] for name in ("login", "url", "database")} == {
        "login": "ada",
        "url": "http://127.0.0.1:18123",
        "database": "streamco",
    }
    register = Register(home / "clickhouse")
    assert matches(made["password"], register.read()["ada"].hash)
    assert home.stat().st_mode & 0o777 == 0o700
    assert "'ada': there is one already" in run(home, "add", "ada", code=1).output
    shown = run(home, "password", "ada").output
    assert matches(shown.split("password:")[1].split()[0], register.read()["ada"].hash)
    assert "ada: disabled" in run(home, "disable", "ada").output
    (one,) = json.loads(run(home, "list", "--json").stdout)["analysts"]
    assert (one["login"], one["enabled"]) == ("ada", False)
    assert "password" not in run(home, "list").output
    assert "ada: enabled" in run(home, "enable", "ada").output
    assert "ada: removed" in run(home, "remove", "ada").output
    assert run(home, "list").output == "0 logins\n"


@pytest.mark.parametrize("name", ["streamco", "streamco_reader", "streamco_analyst", "default", "Ada", "a b"])
def test_names_of_ours_and_bad_ones_are_refused(tmp_path: Path, name: str) -> None:
    assert f"login '{name}'" in run(tmp_path, "add", name, code=1).output


@pytest.mark.parametrize("act", ["password", "disable", "enable", "remove"])
def test_nobody_cannot_be_changed(tmp_path: Path, act: str) -> None:
    assert "there is none of this name" in run(tmp_path, act, "nobody", code=1).output


def test_a_server_of_the_users_is_told_by_its_administrator(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "add", "ada", "--json", more=SERVER).stdout)
    assert made["url"] == "http://ch:8123"
    assert any(one.startswith("CREATE USER OR REPLACE `ada`") for one in made["sql"])
    assert made["password"] not in "".join(made["sql"])
    assert "ALTER USER `ada` HOST NONE;" in run(tmp_path, "disable", "ada", more=SERVER).output
    assert "DROP USER IF EXISTS `ada`;" in run(tmp_path, "remove", "ada", more=SERVER).output
    assert "sql" not in json.loads(run(tmp_path, "add", "ada", "--json").stdout)


def test_the_sql_of_all_roles_is_printed(tmp_path: Path) -> None:
    text = run(tmp_path, "sql", more={"STREAMCO_CLICKHOUSE_DATABASE": "calls"}).output
    assert text.count("CREATE ROLE OR REPLACE") == 3
    assert "GRANT SELECT ON `calls`.`legs` TO `streamco_analyst`;" in text
