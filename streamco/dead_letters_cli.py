"""`streamco dead-letters`: read what could not be processed, send it through its door again, or discard it."""

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
import psycopg

from runtime.user_acts import write_act
from sinks.dead_letters.store import (
    STATES,
    KeptLetter,
    LetterError,
    State,
    count_replay,
    decide,
    find_letter,
    list_letters,
    open_origins,
    release_hold_of,
)
from streamco import rooms
from streamco.person import account, person
from streamco.secret_store import with_secrets
from streamco.settings import Settings, read_settings

MOST_REPLAYS: Final = 3  # by --all: what was refused so often needs somebody who reads it, and names it
_STATE_MARKS: Final = {"open": "red", "replayed": "green", "discarded": "yellow"}
_By = click.option(
    "--by", default=account, show_default="you", help="Who decides this. Your account is kept beside it."
)


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be processed: kept whole, with its reason and where it came from."""


@dead_letters.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those; else all.")
@click.option(
    "--limit", default=1_000, show_default=True, type=click.IntRange(1, 1_000_000), help="The newest so many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def list_command(state: State | None, limit: int, as_json: bool) -> None:
    """Show the letters, the newest first."""
    with _connect(_settings()) as connection:
        letters = list_letters(connection, state, limit)
    if as_json:
        click.echo(json.dumps({"letters": [_plain(letter) for letter in letters]}))
        return
    for letter in letters:
        mark = click.style(f"{letter.state:<9}", fg=_STATE_MARKS[letter.state])
        click.echo(
            f"{letter.at:%Y-%m-%d %H:%M:%S} {mark} {letter.origin}  {letter.leg_id or '-'}  {letter.reason[:100]}"
        )
    click.echo(f"{len(letters)} dead letters")


@dead_letters.command()
@click.argument("origin")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def show(origin: str, as_json: bool) -> None:
    """Show one letter whole: reason, raw bytes, what was decided."""
    try:
        with _connect(_settings()) as connection:
            letter = find_letter(connection, origin)
    except LetterError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_plain(letter)))
        return
    for name, value in _plain(letter).items():
        if name != "raw_base64" and value not in ("", None):
            click.echo(f"{name:<12} {value}")
    click.echo(f"raw          {len(letter.raw)} bytes:")
    click.echo(letter.raw.decode("utf-8", "backslashreplace"))


@dead_letters.command()
@click.argument("origins", nargs=-1)
@click.option(
    "--all", "all_open", is_flag=True, help=f"Every open one that was replayed less than {MOST_REPLAYS} times."
)
@click.option("--reason", required=True, help="Why it should be well now.")
@_By
def replay(origins: tuple[str, ...], all_open: bool, reason: str, by: str) -> None:
    """Send letters through the door that they came by. What is refused again is a new letter, open."""
    from sinks.dead_letters.replay import Sender

    if bool(origins) == all_open:
        raise click.UsageError("name the letters, or say --all")
    _check(reason, by)
    settings = _settings()
    refused = 0
    with _connect(settings) as connection:
        chosen = open_origins(connection, MOST_REPLAYS) if all_open else list(origins)
        connection.commit()
        try:
            with Sender(rooms.kafka(settings, "cli")) as sender:
                for origin in chosen:
                    refused += not _replay_one(connection, sender, origin, reason, by, settings.kafka_partitions)
        except LetterError as error:  # no broker: none of those left can be sent
            raise click.ClickException(str(error)) from error
    click.echo(f"{len(chosen) - refused} sent again, {refused} not")
    sys.exit(1 if refused else 0)


def _replay_one(
    connection: psycopg.Connection[Any], sender: Any, origin: str, reason: str, by: str, partitions: int
) -> bool:
    """Send one; False when it cannot be sent: it stays as it is then, and the reason is told."""
    from sinks.dead_letters.replay import plan_replay

    try:
        with connection.transaction():
            letter = find_letter(connection, origin, lock=True)
            if letter.state == "replayed":
                raise LetterError(f"{origin}: was replayed; what came of it is posted, or is a letter of its own")
            message = plan_replay(letter, partitions)
            # Counted before it is sent: what is refused at once finds here that it was sent again. Decided after: a
            # crash between leaves the letter as it was, and sending it once more does no harm.
            count_replay(connection, origin)
        with connection.transaction():
            letter = find_letter(connection, origin, lock=True)
            place = sender.send(message)
            decide(connection, letter, "replayed", by, reason)
            write_act(connection, person(by), "dead letters", "replay", origin, reason.strip())
    except LetterError as error:
        click.echo(click.style(str(error), fg="red"), err=True)
        return False
    click.echo(f"{origin}: sent again as {place}")
    return True


@dead_letters.command()
@click.argument("origins", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why nothing of it is wanted. It is kept with your name.")
@_By
def discard(origins: tuple[str, ...], reason: str, by: str) -> None:
    """Decide that letters stay unprocessed. They are kept, and the audit goes on counting them.

    With the last open letter of a call goes the call's hold: nothing else would ever release it.
    """
    _check(reason, by)
    refused = 0
    with _connect(_settings()) as connection:
        for origin in origins:
            try:
                with connection.transaction():
                    letter = find_letter(connection, origin, lock=True)
                    if letter.state != "open":
                        raise LetterError(f"{origin}: is {letter.state}, not open")
                    decide(connection, letter, "discarded", by, reason)
                    write_act(connection, person(by), "dead letters", "discard", origin, reason.strip())
                with connection.transaction():
                    released = release_hold_of(connection, letter)
            except LetterError as error:
                refused += 1
                click.echo(click.style(str(error), fg="red"), err=True)
            else:
                click.echo(f"{origin}: discarded" + (f"; the hold of {released} is released" if released else ""))
    sys.exit(1 if refused else 0)


def _settings() -> Settings:
    return with_secrets(read_settings())


@contextmanager
def _connect(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(rooms.postgres(settings, "cli").dsn.get_secret_value(), connect_timeout=5) as connection:
            yield connection
    except psycopg.Error as error:
        raise click.ClickException(f"PostgreSQL does not answer: {str(error).strip()}") from error


def _check(reason: str, by: str) -> None:
    if not reason.strip() or not by.strip():
        raise click.UsageError("--reason and --by must say something")


def _plain(letter: KeptLetter) -> dict[str, Any]:
    return {
        "origin": letter.origin,
        "source": letter.source,
        "state": letter.state,
        "at": letter.at.isoformat(),
        "leg_id": letter.leg_id,
        "reason": letter.reason,
        "replays": letter.replays,
        "replay_of": letter.replay_of,
        "decided_by": letter.decided_by,
        "decided_why": letter.decided_why,
        "decided_at": letter.decided_at.isoformat() if letter.decided_at else None,
        "raw_base64": base64.b64encode(letter.raw).decode(),
    }
