"""`streamco user` on a real PostgreSQL: passwords are shown once or read, never arguments; errors are a line."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner, Result
from command_role import command_environment

from dashboards.access.users import check_login
from runtime.user_acts import list_acts
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


@pytest.mark.servers
def test_odd_arguments_are_a_line_and_change_nothing(tmp_path: Path, postgres_dsn: str) -> None:
    """As bytes, by a process of its own: what is no UTF-8 is no error of ours, and a password in it is not shown."""
    environment = {**os.environ, "STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}

    def run(*arguments: bytes, given: bytes = b"") -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, b"-m", b"streamco.cli", *arguments], env=environment, input=given, capture_output=True
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    assert run(b"user", b"add", b"ada", b"--role", b"administrator")[0] == 0
    for arguments in (
        (b"user", b"add", b"\xff", b"--role", b"noc"),
        (b"user", b"add", b"x" * 10_000, b"--role", b"noc"),
        (b"user", b"add", b'it\'s "x"; --', b"--role", b"noc"),
        (b"user", b"add", b"nora", b"--role", b"company", b"--company", b"\xff\xfe"),
        (b"api-token", b"ada", b"\xff"),
        (b"pay", b"\xff", b"1", b"--reason", b"x"),
    ):
        code, said = run(*arguments)
        assert (code, "Traceback" in said) == (1, False), said
    code, said = run(b"user", b"password", b"ada", b"--password-stdin", given=b"secret of ada \xff\n")
    assert (code in (1, 2), "secret of" in said, "Traceback" in said) == (True, False, False), said
    assert len(json.loads(run(b"user", b"list", b"--json")[1])["users"]) == 1


WORLD = """
packs: [{name: P, currency: USD, notation: 1/1}]
route_classes: [{name: R}]
companies:
  - name: Acme
    accounts: [{name: Acme prepaid, kind: customer, currency: USD}]
    peers: [{name: acme, role: originator, host: 192.0.2.1, pack: P, route_class: R}]
"""


@pytest.mark.servers
def test_what_changes_configuration_or_money_is_somebodys_act(tmp_path: Path, postgres_dsn: str) -> None:
    for name, text in (("world.yaml", WORLD), ("deck.csv", "code,price\n44,0.01\n"), ("pool.csv", "number\n4420\n")):
        (tmp_path / name).write_text(text)
    environment = {"STREAMCO_HOME": str(tmp_path), **command_environment(postgres_dsn)}

    def run(*arguments: str) -> int:
        return CliRunner().invoke(commands, list(arguments), env=environment).exit_code

    for _ in range(2):  # the second changes nothing, and is no act
        assert run("load", str(tmp_path / "world.yaml")) == 0
        assert run("load-deck", "acme", str(tmp_path / "deck.csv")) == 0
        assert run("load-pool", "fraud", str(tmp_path / "pool.csv")) == 0
        run("pay", "Acme prepaid", "10.5", "--reason", "invoice 7", "--reference", "i7")
    assert run("pay", "Nobody", "1", "--reason", "x") == 1
    with psycopg.connect(postgres_dsn) as connection:
        acts = list_acts(connection, 10)
    assert {(one.person, one.via, one.origin) for one in acts} == {(account(), "command", account())}
    assert [(one.area, one.act, one.subject) for one in reversed(acts)] == [
        ("configuration", "load", "world.yaml"), ("configuration", "load deck", "acme"),
        ("configuration", "load pool", "fraud"), ("money", "pay", "Acme prepaid"),
    ]  # fmt: skip
    assert acts[0].detail == "10.5 USD, i7: invoice 7"


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
