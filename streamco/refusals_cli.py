"""`streamco edge-refusals`: SIP requests that a node refused before its dialplan; no calls, and in no figure."""

import ipaddress
from typing import Any

import click
import msgspec
import psycopg

from sinks.edge_refusals import EdgeRefusal, list_edge_refusals
from streamco import rooms
from streamco.secret_store import with_secrets
from streamco.settings import read_settings


def _network(_context: click.Context, _parameter: click.Parameter, value: str) -> str | None:
    try:
        return str(ipaddress.ip_network(value)) if value else None
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: must be an address or a network ({error})") from error


@click.command("edge-refusals")
@click.option("--node", default="", help="Of this node alone.")
@click.option("--address", "network", default="", callback=_network, help="Of this source, or network of sources.")
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 24 * 30), help="Of the last so many.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")
def edge_refusals(node: str, network: str | None, hours: int, limit: int, as_json: bool) -> None:
    """Show SIP requests that were refused before any call began: who sent them, and with what they were refused."""
    dsn = rooms.postgres(with_secrets(read_settings()), "cli").dsn.get_secret_value()
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            found = list_edge_refusals(connection, limit, seconds=hours * 3600, node=node, network=network)
    except psycopg.Error as error:
        raise click.ClickException(f"PostgreSQL does not answer: {str(error).strip()}") from error
    if as_json:
        click.echo(msgspec.json.encode({"refusals": [_plain(one) for one in found]}))
        return
    for one in found:
        more = f"  ({one.not_recorded} more of this source before)" if one.not_recorded else ""
        who = f"{one.address}:{one.port}" + (f" ({one.peer})" if one.peer else "")
        click.echo(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.node}  {who}  {one.method} {one.sip_code} {one.reason}{more}")
        click.echo(f"    {one.sip_call_id}")
    click.echo(f"{len(found)} refusals before the dialplan")


def _plain(one: EdgeRefusal) -> dict[str, Any]:
    return {**one._asdict(), "at": one.at.isoformat()}
