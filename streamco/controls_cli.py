"""`streamco controls`: what controllers have blocked, moved back or capped, why, and the way to end it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
import psycopg

from runtime.user_acts import write_act
from sinks.control_actions import STATES, ControlAction, ControlActionError, State, list_actions, release_action
from streamco import rooms
from streamco.person import account, person
from streamco.secret_store import with_secrets
from streamco.settings import read_settings

_MARKS: Final = {"block": "red", "cap": "yellow", "demote": "yellow"}


@click.group("controls")
def controls() -> None:
    """What controllers have done to vendors and customers."""


@controls.command("list")
@click.option("--state", type=click.Choice(STATES), default="in force", show_default=True)
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 100_000), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def list_command(state: State, limit: int, as_json: bool) -> None:
    """Show the actions of a state, the newest first."""
    with _connect() as connection:
        actions = list_actions(connection, state, limit)
    if as_json:
        click.echo(json.dumps({"actions": [_plain(action) for action in actions]}, ensure_ascii=False))
        return
    for action in actions:
        what = click.style(f"{action.action:<6}", fg=None if action.released_at else _MARKS[action.action])
        scope = f"{action.peer} {action.code}".strip()
        until = f"until {action.until:%Y-%m-%d %H:%M:%S}" if action.until else "until it is released"
        if action.released_at is not None:
            until = f"released {action.released_at:%Y-%m-%d %H:%M:%S} by {action.released_by}"
        click.echo(f"{action.since:%Y-%m-%d %H:%M:%S} {what} {scope}: {action.reason} ({action.control}); {until}")
        click.echo(f"    {action.action_id}" + (f"  {action.released_why}" if action.released_why else ""))
    click.echo(f"{len(actions)} actions")


@controls.command()
@click.argument("action_ids", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why it may go on. It is kept with your name.")
@click.option("--by", default=account, show_default="you", help="Who decides this. Your account is kept beside it.")
def release(action_ids: tuple[str, ...], reason: str, by: str) -> None:
    """End actions now. The control may act again, on what comes after this."""
    refused = 0
    with _connect() as connection:
        for action_id in action_ids:
            try:
                with connection.transaction():
                    release_action(connection, action_id, by, reason)
                    write_act(connection, person(by), "controls", "release", action_id, reason.strip())
            except ControlActionError as error:
                refused += 1
                click.echo(click.style(str(error), fg="red"), err=True)
            else:
                click.echo(f"{action_id}: released")
    sys.exit(1 if refused else 0)


@contextmanager
def _connect() -> Iterator[psycopg.Connection[Any]]:
    dsn = rooms.postgres(with_secrets(read_settings()), "cli").dsn.get_secret_value()
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            yield connection
    except psycopg.Error as error:
        raise click.ClickException(f"PostgreSQL does not answer: {str(error).strip()}") from error


def _plain(action: ControlAction) -> dict[str, Any]:
    values = vars(action)
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}
