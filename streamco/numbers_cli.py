"""The commands about numbers: a pool from a file, and patterns tried before they are saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from router.core.trial import Direction, Field, Trial

_FIELDS: Final = ("callee", "caller", "caller_name")


def _dsn() -> str:
    from streamco import rooms
    from streamco.secret_store import with_secrets
    from streamco.settings import read_settings

    return rooms.postgres(with_secrets(read_settings()), "cli").dsn.get_secret_value()


@click.command("load-pool")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
def load_pool(name: str, file: Path) -> None:
    """Make the numbers of a CSV FILE (one column, `number`) the pool NAME, all or nothing."""
    from configuration.load import load_pool as read
    from runtime.changing import WorldError
    from streamco.person import person

    try:
        result = read(_dsn(), name, file, by=person())
    except WorldError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{result.pool}: {result.rows:,} numbers in the file, {result.inserted:,} inserted, {result.removed:,} removed"
    )


@click.command("try-translation")
@click.option("--peer", "peer_name", required=True, help="Whose patterns, prefixes and country.")
@click.option("--direction", type=click.Choice(["in", "out"]), help="An originator's are in, a terminator's out.")
@click.option("--field", type=click.Choice(_FIELDS), default="callee", show_default=True)
@click.option("--pattern", "patterns", type=(str, str), multiple=True, metavar="PATTERN REPLACEMENT",
              help="Instead of those that are saved; several in their order.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
@click.argument("number")
def try_translation(
    peer_name: str,
    direction: "Direction | None",
    field: "Field",
    patterns: tuple[tuple[str, str], ...],
    as_json: bool,
    number: str,
) -> None:
    """Show, step by step, what becomes of a NUMBER that a peer sends us, or is sent. Exit code 1: it is refused."""
    import msgspec
    import psycopg

    from router.check import TrialError

    try:
        with psycopg.connect(_dsn(), connect_timeout=5) as connection:
            trial = trial_of(connection, peer_name, direction, field, patterns, number)
    except (TrialError, psycopg.Error) as error:
        raise click.ClickException(str(error).strip()) from error
    if as_json:
        click.echo(msgspec.json.encode(trial).decode())
    else:
        for step in trial.steps:
            click.echo(f"{step.step:<32} {step.before} → {step.after}" if step.before != step.after else step.step)
        click.echo(f"refused: {trial.refused}" if trial.refused else f"result: {trial.result}")
    click.get_current_context().exit(1 if trial.refused else 0)


def trial_of(
    connection: Any,
    peer_name: str,
    direction: "Direction | None",
    field: "Field",
    patterns: "tuple[tuple[str, str], ...]",
    number: str,
) -> "Trial":
    """The trial of a peer by name; `patterns` instead of those saved, if any are given. Raises TrialError."""
    from router.check import TrialQuestion, TrialRule, read_saved, try_rules

    rules = tuple(TrialRule(*one) for one in patterns) or None
    question = TrialQuestion(peer_name, direction, field, rules, (number,))
    return try_rules(question, read_saved(connection, peer_name)).trials[0]
