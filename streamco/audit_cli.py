"""`streamco audit`: the whole recount, or what the continuous audit found last."""

import sys
from typing import NoReturn

import click
import psycopg

from streamco.secret_store import with_secrets
from streamco.settings import read_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on one line.")
@click.option(
    "--settle", default=0.0, type=click.FloatRange(0, 3600), help="Wait so many seconds for what is in flight."
)
@click.option("--full", is_flag=True, help="Recount everything that is retained (so it does without --last).")
@click.option("--last", is_flag=True, help="What the continuous audit found in its last run, instead of a recount.")
def audit(as_json: bool, settle: float, full: bool, last: bool) -> None:
    """Compare journals, rated legs, CDRs and ledger. Exit code 1 on any difference."""
    from streamco import rooms

    if full and last:
        raise click.UsageError("--full and --last: one of them")

    settings = with_secrets(read_settings())
    if last:
        from streamco.audit_view import print_last

        try:
            sys.exit(print_last(rooms.postgres(settings, "cli").dsn.get_secret_value(), as_json=as_json))
        except psycopg.Error as error:
            _unreadable(error)
    from sinks.audit.full.audit import audit as compare
    from sinks.audit.full.audit import report_json
    from streamco.audit_view import print_report

    try:
        report = compare(rooms.audit(settings), settle, lambda text: None if as_json else click.echo(text))
    except Exception as error:  # any store's client: no audit is better than half a one
        _unreadable(error)
    if as_json:
        click.echo(report_json(report))
    else:
        print_report(report)
    sys.exit(0 if report.ok else 1)


def _unreadable(error: Exception) -> NoReturn:
    click.echo(click.style("error: ", fg="red") + f"the stores cannot be read: {error}", err=True)
    sys.exit(2)
