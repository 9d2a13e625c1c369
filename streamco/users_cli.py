"""`streamco user`: who may use the dashboards and the API, as what. Passwords are never arguments, and shown once."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, TypeVar

import click
import psycopg

from dashboards.access.table import ROLES
from dashboards.access.users import UserError, fresh_password
from dashboards.topics.users.admin import (
    UserRow,
    change_password,
    change_role,
    create_user,
    disable_user,
    enable_user,
    list_users,
)
from runtime.user_acts import list_acts
from streamco import rooms
from streamco.person import person
from streamco.secret_store import with_secrets
from streamco.settings import read_settings

_MOST: Final = 100_000
_MOST_LINE: Final = 4_096  # characters: more than a password may have
_Command = TypeVar("_Command", bound=Callable[..., Any])
_AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
_COMPANY: Final = click.option("--company", default="", help="Whose rows it sees: for role company, and no other.")
_ROLE: Final = click.Choice(ROLES)


def _with_password(command: _Command) -> _Command:
    """The two ways to give a password; without one it is made, and shown once."""
    command = click.option("--prompt", is_flag=True, help="Ask for the password, twice, without showing it.")(command)
    return click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")(command)


@click.group("user")
def user() -> None:
    """Users of the dashboards and the API: who may come in, and as what."""


@user.command("add")
@click.argument("login")
@click.option("--role", type=_ROLE, required=True, help="What it may see and do (docs/operations.md).")
@_COMPANY
@_with_password
@_AS_JSON
def add_command(login: str, role: str, company: str, prompt: bool, password_stdin: bool, as_json: bool) -> None:
    """Add a user LOGIN. Without another way its password is made, and shown once."""
    password, made = _password(prompt, password_stdin)
    with _connect() as connection:
        kept = create_user(connection, person(), login, role, password, company)
    _say(as_json, {"login": kept, "role": role, **({"password": password} if made else {})}, kept, "was added")


@user.command("list")
@_AS_JSON
def list_command(as_json: bool) -> None:
    """Show all users with their sessions and tokens."""
    with _connect() as connection:
        found = list_users(connection, datetime.now(UTC), _MOST)
    if as_json:
        click.echo(json.dumps({"users": [_plain(row) for row in found]}, ensure_ascii=False))
        return
    for row in found:
        state = "enabled " if row.enabled else click.style("disabled", fg="yellow")
        seen = f"last login {row.last_login_at:%Y-%m-%d %H:%M}" if row.last_login_at else "never logged in"
        click.echo(f"{row.login:<24} {row.role:<14} {state}  {seen}, {row.sessions} sessions" + _of(row.company))
        for token in row.tokens:
            click.echo(f"    token {token.name}, until {token.expires_at:%Y-%m-%d}")
    click.echo(f"{len(found)} users")


@user.command("role")
@click.argument("login")
@click.argument("role", type=_ROLE)
@_COMPANY
@_AS_JSON
def role_command(login: str, role: str, company: str, as_json: bool) -> None:
    """Give the user LOGIN another ROLE, from its next request on. The last administrator keeps its own."""
    with _connect() as connection:
        change_role(connection, person(), login, role, company)
    _say(as_json, {"login": login, "role": role}, login, f"is {role} now")


@user.command("disable")
@click.argument("login")
@_AS_JSON
def disable_command(login: str, as_json: bool) -> None:
    """Let the user LOGIN in no more: its sessions and tokens end. Not the last administrator."""
    with _connect() as connection:
        ended = disable_user(connection, person(), login)
    told = {"login": login, "sessions_ended": ended.sessions, "tokens_ended": ended.tokens}
    _say(as_json, told, login, f"is disabled; {ended.sessions} sessions and {ended.tokens} tokens ended")


@user.command("enable")
@click.argument("login")
@_AS_JSON
def enable_command(login: str, as_json: bool) -> None:
    """Let the user LOGIN in again; sessions and tokens that had ended stay so."""
    with _connect() as connection:
        enable_user(connection, person(), login)
    _say(as_json, {"login": login}, login, "may come in again")


@user.command("password")
@click.argument("login")
@_with_password
@_AS_JSON
def password_command(login: str, prompt: bool, password_stdin: bool, as_json: bool) -> None:
    """Give the user LOGIN a new password; its sessions end, its tokens go on."""
    password, made = _password(prompt, password_stdin)
    with _connect() as connection:
        change_password(connection, person(), login, password)
    _say(as_json, {"login": login, **({"password": password} if made else {})}, login, "has a new password")


@user.command("acts")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, _MOST), help="The newest so many.")
@_AS_JSON
def acts_command(limit: int, as_json: bool) -> None:
    """Show what people have done: on users, controllers' blocks, dead letters."""
    with _connect() as connection:
        found = list_acts(connection, limit)
    if as_json:
        acts = [{**one._asdict(), "at": one.at.isoformat()} for one in found]
        click.echo(json.dumps({"acts": acts}, ensure_ascii=False))
        return
    for one in found:
        detail = f"  {one.detail}" if one.detail else ""
        click.echo(f"{one.at:%Y-%m-%d %H:%M:%S} {one.person} ({one.via}, {one.origin}) {one.area}: {one.act} "
                   f"{one.subject}{detail}")  # fmt: skip
    click.echo(f"{len(found)} acts")


def _password(prompt: bool, from_stdin: bool) -> tuple[str, bool]:
    """The password to set, and whether it was made here."""
    if prompt and from_stdin:
        raise click.UsageError("--prompt and --password-stdin are two ways: choose one")
    if from_stdin:
        try:
            return sys.stdin.readline(_MOST_LINE).rstrip("\r\n"), False
        except UnicodeDecodeError:
            raise click.UsageError("the password on standard input: must be UTF-8") from None  # it holds the line
    if prompt:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True)), False
    return fresh_password(), True


def _say(as_json: bool, document: dict[str, Any], login: str, what: str) -> None:
    if as_json:
        click.echo(json.dumps(document))
        return
    if "password" in document:
        click.echo(f"login: {login}  password: {document['password']}  (shown once)")
    else:
        click.echo(f"{login} {what}")


@contextmanager
def _connect() -> Iterator[psycopg.Connection[Any]]:
    dsn = rooms.postgres(with_secrets(read_settings()), "cli").dsn.get_secret_value()
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            yield connection
    except (UserError, psycopg.Error) as error:
        _fail(
            str(error).strip() if isinstance(error, UserError) else f"PostgreSQL does not answer: {str(error).strip()}"
        )


def _of(company: str | None) -> str:
    return f", of {company}" if company else ""


def _plain(row: UserRow) -> dict[str, Any]:
    tokens = [_dated(token._asdict()) for token in row.tokens]
    return {**_dated(row._asdict()), "tokens": tokens}


def _dated(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _fail(text: str) -> NoReturn:
    for line in text.splitlines() or [""]:
        click.echo(click.style("error: ", fg="red") + line, err=True)
    sys.exit(1)
