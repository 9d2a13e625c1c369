"""`streamco reachability`: which vendors answer, by node; and the lines of `streamco status` on those that do not."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
import msgspec

from streamco.secret_store import with_secrets
from streamco.settings import Settings, read_settings

if TYPE_CHECKING:
    from router.server.vendor_reach import VendorReach

_MARKS: Final = {"reachable": "green", "silent": "yellow", "due": "yellow", "skipped": "red", "unreachable": "red"}


@click.command("reachability")
@click.option("--node", default="", help="Of this node alone.")
@click.option("--all", "everything", is_flag=True, help="Vendors that answer, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def reachability(node: str, everything: bool, as_json: bool) -> None:
    """Show which vendors do not answer, on which node, since when, and when they are tried again."""
    import psycopg

    try:
        found = _read(read_settings(), node=node, only_bad=not everything)
    except psycopg.Error as error:
        raise click.ClickException(f"PostgreSQL does not answer: {str(error).strip()}") from error
    if as_json:
        click.echo(msgspec.json.encode({"vendors": found}))
        return
    for line in _lines(found):
        click.echo(line)
    click.echo(f"{len(found)} vendors" if everything else f"{len(found)} vendors that are not simply reachable")


def status_lines(settings: Settings) -> tuple[list["VendorReach"], list[str]]:
    """Vendors that are skipped, and the lines that say so; nothing is known where PostgreSQL does not answer."""
    import psycopg

    from router.server.vendor_reach import SKIPPED

    try:
        found = [one for one in _read(settings, only_bad=True) if one.state in SKIPPED]
    except (psycopg.Error, ValueError):
        return [], ["vendors            not known: PostgreSQL does not answer"]
    return found, [f"{'vendor':<18} {line}" for line in _lines(found)]


def _read(settings: Settings, *, node: str = "", only_bad: bool) -> list["VendorReach"]:
    """Raises psycopg.Error."""
    from router.check import connect_to_read
    from router.server.vendor_reach import read_vendors, vendor_reach
    from streamco import rooms

    with connect_to_read(rooms.postgres(with_secrets(settings), "cli")) as connection:
        return [vendor_reach(one) for one in read_vendors(connection, node=node, only_bad=only_bad)]


def _lines(found: list["VendorReach"]) -> Iterator[str]:
    from dashboards.topics.reachability.words import reach_line

    for one in found:
        yield f"{click.style(f'{one.state:<11}', fg=_MARKS.get(one.state))} {reach_line(one)}"
