"""`streamco kafka-reader`: logins for programs of yours that read Kafka's topics."""

import json
from collections.abc import Callable
from typing import TypeVar

import click

from schemas.kafka_access import MECHANISM, OWNER
from schemas.topics import TOPICS
from streamco import rooms
from streamco.act_log import write_down
from streamco.secret_store import with_secrets
from streamco.settings import Settings, read_settings

_T = TypeVar("_T")


@click.group("kafka-reader")
def kafka_reader() -> None:
    """Logins for programs of yours that read Kafka's topics, and can do nothing else there."""


@kafka_reader.command()
@click.argument("name")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    required=True,
    type=click.Choice([topic.name for topic in TOPICS]),
    help="A topic that it may read; give it as often as there are topics.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def add(name: str, topics: tuple[str, ...], as_json: bool) -> None:
    """Make a reader NAME, or give it a new password and these topics; the password is shown once."""
    from runtime.kafka_readers import add_reader

    settings = _settings()
    owner, mechanism = rooms.kafka(settings, OWNER), settings.kafka_mechanism or MECHANISM
    reader, password = _done(lambda: add_reader(owner, name, topics, mechanism))
    found = {
        "login": reader.user,
        "password": password,
        "mechanism": mechanism,
        "bootstrap": owner.bootstrap,
        "tls": owner.tls,
        "topics": list(reader.topics),
        "groups": [reader.user, f"{reader.user}.*"],
    }
    write_down(settings, "kafka readers", "add", reader.user, f"reads {', '.join(reader.topics)}")
    if as_json:
        click.echo(json.dumps(found))
        return
    for label, value in found.items():
        click.echo(f"{label:<10} {', '.join(value) if isinstance(value, list) else value}")


@kafka_reader.command()
@click.argument("name")
def remove(name: str) -> None:
    """End the login of a reader NAME. Delete its consumer groups too: their topics are kept for them."""
    from runtime.kafka_readers import remove_reader

    settings = _settings()
    _done(lambda: remove_reader(rooms.kafka(settings, OWNER), name, settings.kafka_mechanism or MECHANISM))
    write_down(settings, "kafka readers", "remove", name)
    click.echo(f"{name}: has no login any more")


@kafka_reader.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def list_command(as_json: bool) -> None:
    """Show the readers and their topics."""
    from runtime.kafka_readers import list_readers

    readers = _done(lambda: list_readers(rooms.kafka(_settings(), OWNER)))
    if as_json:
        click.echo(json.dumps({"readers": [{"login": one.user, "topics": list(one.topics)} for one in readers]}))
        return
    for one in readers:
        click.echo(f"{one.user:<30} {', '.join(one.topics)}")


def _settings() -> Settings:
    settings = with_secrets(read_settings())
    if not settings.kafka_has_our_users:
        raise click.ClickException("readers are made where each process is a user of its own (docs/operations.md)")
    return settings


def _done(act: Callable[[], _T]) -> _T:
    from runtime.topics import TopicError

    try:
        return act()
    except TopicError as error:
        raise click.ClickException(str(error)) from error
