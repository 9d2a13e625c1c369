"""`streamco analyst`: people's logins of ClickHouse, which read the CDRs and nothing else."""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from streamco.act_log import write_down
from streamco.clickhouse_access import grants
from streamco.clickhouse_access.register import Register, RegisterError
from streamco.clickhouse_access.rights import ANALYST, KINDS
from streamco.embedded.settings import LOOPBACK
from streamco.rooms import READER_USER
from streamco.secret_store import with_secrets
from streamco.settings import Settings, SettingsError, read_settings

_SERVER_NOTE: Final = "The ClickHouse is a server of yours: have its administrator run"
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")


@click.group("analyst")
def analyst() -> None:
    """Make, list, disable and remove people's logins of ClickHouse. They only read, within limits."""


@analyst.command()
@click.argument("name")
@_JSON
def add(name: str, as_json: bool) -> None:
    """Make the login NAME. Its password is shown once and kept nowhere."""
    settings, register = _opened()
    password = _tried(lambda: register.add(name, _now(), _taken(settings)))
    write_down(settings, "analysts", "add", name)
    _show_login(settings, name, password, as_json)


@analyst.command()
@click.argument("name")
@_JSON
def password(name: str, as_json: bool) -> None:
    """Give the login NAME a new password, shown once. The old one ends."""
    settings, register = _opened()
    made = _tried(lambda: register.renew(name))
    write_down(settings, "analysts", "password", name)
    _show_login(settings, name, made, as_json)


@analyst.command("list")
@_JSON
def list_command(as_json: bool) -> None:
    """Show every login."""
    _, register = _opened()
    known = sorted(_tried(register.read).values(), key=lambda one: one.login)
    if as_json:
        shown = [{"login": one.login, "enabled": one.enabled, "created_at": one.created_at} for one in known]
        click.echo(json.dumps({"analysts": shown}))
        return
    for one in known:
        click.echo(f"{one.login:<32} {'enabled' if one.enabled else 'disabled':<8} since {one.created_at}")
    click.echo(f"{len(known)} logins")


@analyst.command()
@click.argument("name")
def disable(name: str) -> None:
    """Let the login NAME in no more, from its next query on."""
    _enable(name, enabled=False)


@analyst.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let a disabled login NAME in again, with the password that it had."""
    _enable(name, enabled=True)


@analyst.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget the login NAME."""
    settings, register = _opened()
    _tried(lambda: register.remove(name))
    write_down(settings, "analysts", "remove", name)
    click.echo(f"{name}: removed")
    _show_sql(settings, [grants.drop_user(name)])


@analyst.command()
def sql() -> None:
    """Print the SQL that gives a ClickHouse server of yours the roles, limits and quotas of all our logins."""
    settings, _ = _opened()
    click.echo("\n".join(f"{statement};" for statement in grants.grants(settings.clickhouse_database)))


def _enable(name: str, *, enabled: bool) -> None:
    settings, register = _opened()
    _tried(lambda: register.enable(name, enabled))
    write_down(settings, "analysts", "enable" if enabled else "disable", name)
    click.echo(f"{name}: {'enabled' if enabled else 'disabled'}")
    _show_sql(settings, [grants.enable_user(name, enabled)])


def _show_login(settings: Settings, name: str, password: str, as_json: bool) -> None:
    url = settings.clickhouse_url or f"http://{LOOPBACK}:{settings.clickhouse_port}"
    shown: dict[str, Any] = {
        "login": name,
        "password": password,
        "url": url,
        "database": settings.clickhouse_database,
    }
    statements = grants.create_user(name, password, secrets.token_hex(16), ANALYST)
    if as_json:
        click.echo(json.dumps(shown | ({"sql": statements} if settings.clickhouse_url is not None else {})))
        return
    for what, value in shown.items():
        click.echo(f"{what + ':':<10} {value}")
    _show_sql(settings, statements)


def _show_sql(settings: Settings, statements: list[str]) -> None:
    """What a server of the user's has to be told by its administrator; nothing where the ClickHouse is ours."""
    if settings.clickhouse_url is not None:
        click.echo(_SERVER_NOTE)
        for statement in statements:
            click.echo(f"    {statement};")


def _opened() -> tuple[Settings, Register]:
    try:
        settings = with_secrets(read_settings())
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    return settings, Register(settings.home / "clickhouse")


_Result = TypeVar("_Result")


def _tried(act: Callable[[], _Result]) -> _Result:
    try:
        return act()
    except RegisterError as error:
        raise click.ClickException(str(error)) from error


def _taken(settings: Settings) -> frozenset[str]:
    """Logins that are not people's, and the names of our roles, which a server would not tell from a user's."""
    roles = {rights.role for rights in KINDS}
    return frozenset({"default", settings.clickhouse_user, settings.clickhouse_reader_user or READER_USER}) | roles


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
