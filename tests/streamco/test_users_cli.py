"""`streamco user` on a real PostgreSQL: passwords are shown once or read, never arguments; errors are a line."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment

from dashboards.users import check_login
from streamco.cli import commands
from streamco.person import account, person

OWN = "correct horse battery"


@pytest.mark.servers
def test_a_users_life(tmp_path: Path, postgres_dsn: str) -> None:
    def run(*arguments: str, code: int = 0, given: str | None = None) -> Result:
        environment = {"STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}
        done = CliRunner().invoke(commands, list(arguments), env=environment, input=given)
        assert done.exit_code == code, done.output
        return done

    def opens(login: str, password: str) -> bool:
        with psycopg.connect(postgres_dsn) as connection:
            return check_login(connection, login, password) is not None

    made = json.loads(run("user", "add", "Ada", "--role", "administrator", "--json").output)
    assert (made["login"], made["role"]) == ("ada", "administrator")
    assert opens("ada", made["password"])
    shown = run("user", "add", "nora", "--role", "noc").output
    assert shown.startswith("login: nora  password: ")
    assert opens("nora", shown.split()[3])
    read = run("user", "add", "ben", "--role", "viewer", "--password-stdin", "--json", given=f"{OWN}\n").output
    assert json.loads(read) == {"login": "ben", "role": "viewer"}
    assert opens("ben", OWN)
    asked = run("user", "password", "nora", "--prompt", given=f"{OWN} 2\n{OWN} 2\n").output
    assert OWN not in asked
    assert opens("nora", f"{OWN} 2")
    assert "password: from 12 to 256" in run("user", "password", "nora", "--password-stdin", given="x\n", code=1).output
    assert "two ways" in run("user", "password", "nora", "--prompt", "--password-stdin", code=2).output
    assert "No such option" in run("user", "password", "nora", "--password", "x", code=2).output
    assert "such a user already" in run("user", "add", "NORA", "--role", "noc", code=1).output
    assert run("user", "role", "nora", "analyst").output == "nora is analyst now\n"

    assert run("api-token", "nora", "exports").output.startswith("token: streamco_")
    refused = run("api-token", "nora", "exports", code=1).output
    assert "nora has a token of that name; end it first" in refused
    found = {one["login"]: one for one in json.loads(run("user", "list", "--json").output)["users"]}
    assert (found["nora"]["role"], [one["name"] for one in found["nora"]["tokens"]]) == ("analyst", ["exports"])
    assert "token exports, until" in run("user", "list").output
    told = json.loads(run("user", "disable", "nora", "--json").output)
    assert told == {"login": "nora", "sessions_ended": 0, "tokens_ended": 1}
    assert "is disabled" in run("api-token", "nora", "exports", code=1).output
    assert run("user", "enable", "nora").output == "nora may come in again\n"
    assert "the last administrator cannot be disabled" in run("user", "disable", "ada", code=1).output
    assert "Traceback" not in run("user", "role", "ada", "noc", code=1).output
    assert run("password", "ada").output.startswith("login: ada  password: ")

    acts = json.loads(run("user", "acts", "--json").output)["acts"]
    assert {(one["person"], one["via"], one["origin"]) for one in acts} == {(account(), "command", account())}
    assert [one["act"] for one in reversed(acts)] == [
        "add", "add", "add", "password", "role", "token", "disable", "enable", "password",
    ]  # fmt: skip
    assert run("user", "acts").output.endswith("9 acts\n")


def test_no_command_takes_a_password_as_an_argument() -> None:
    user: Any = commands.get_command(click.Context(commands), "user")
    for command in user.commands.values():
        for parameter in command.params:
            assert "password" not in parameter.name or parameter.is_flag, command.name


def test_the_account_is_the_systems_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody.else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert account() == pwd.getpwuid(os.getuid()).pw_name
    assert person("ada") == ("ada", "command", account())
    assert person(" ").name == person().name == account()
