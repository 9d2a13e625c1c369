"""`streamco change-agi-secret`: nodes get new keys, without a call that is refused meanwhile."""

import time

import click

from streamco.act_log import write_down
from streamco.secret_store import change_agi_secret
from streamco.settings import read_settings


@click.command("change-agi-secret")
@click.option(
    "--hours", default=24, show_default=True, type=click.IntRange(1, 720), help="So long the present keys count, too."
)
@click.option(
    "--at-once", is_flag=True, help="Also while the one before the present one counts: from then on it does not."
)
def change_secret(hours: int, at_once: bool) -> None:
    """Make a new secret of the nodes' keys; the present one counts for some hours more.

    What is left to do is printed.
    """
    now = int(time.time())
    until = now + hours * 3600
    settings, told = read_settings(), time.strftime("%F %T UTC", time.gmtime(until))
    change_agi_secret(settings, until, now, at_once=at_once)
    write_down(settings, "nodes", "change secret", "routers", f"the one before counts until {told}")
    click.echo(f"a new secret is made; the present one counts until {told}")
    click.echo(
        "now, in this order: `streamco down` and `streamco up`, so that routers know both; an Asterisk of ours is"
    )
    click.echo(
        "given its key then. For each Asterisk of yours: `streamco asterisk-config NODE --output DIRECTORY`, and copy"
    )
    click.echo("agi.key from there to where it reads it: it is in force with the next call, nothing is started anew.")
