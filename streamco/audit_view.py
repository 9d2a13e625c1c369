"""The audit's reports for people: the whole recount's, and what the continuous one found last."""

import json
from typing import Final

import click
import psycopg

from schemas.money import decimal_from_micros
from sinks.audit.continuous.calls import NOT_VERIFIED
from sinks.audit.continuous.store import LastRun, last_run
from sinks.audit.full.audit import AuditReport
from sinks.audit.full.range import Range

_NAMED: Final = 200


def print_report(report: AuditReport) -> None:
    """Counts, sums, and the differences by leg."""
    legs = report.legs
    click.echo(f"as of {report.as_of}: {report.calls:,} calls; legs by node: {_nodes(report)}")
    click.echo(
        f"legs: {legs.journal:,} in journals, {legs.rated:,} rated, {legs.cdr:,} CDRs, {legs.ledger:,} in the ledger, "
        f"{legs.dead_letters:,} dead letters, {legs.estimated:,} estimated, "
        f"{legs.undecodable:,} lines that cannot be read"
    )
    for row in report.money:
        sums = (row.rated_micros, row.cdr_micros, row.ledger_micros, row.balance_micros)
        rated, cdr, ledger, balance = (decimal_from_micros(one) for one in sums)
        mark = "=" if len(set(sums)) == 1 else "DIFFER"
        click.echo(
            f"{row.currency} {row.side:<10} rated {rated}  CDRs {cdr}  ledger {ledger}  balances {balance}  {mark}"
        )
    calls = report.calls_open
    click.echo(
        f"holds open: {report.holds_open}; calls without an end: {calls.up:,} up, {calls.young:,} too young to be on a "
        f"heartbeat, {calls.not_verified:,} on silent nodes"
    )
    _print_range(report.range)
    for one in report.differences:
        click.echo(click.style(f"{one.kind}: {one.leg_id or one.account_id or ''} {one.detail or ''}", fg="red"))
    if report.differences_total > len(report.differences):
        click.echo(f"… {report.differences_total - len(report.differences)} more")
    verdict = ("equal to the last micro-unit", "green") if report.ok else (_not_ok(report), "red")
    click.echo(click.style(verdict[0], fg=verdict[1]))


def _not_ok(report: AuditReport) -> str:
    only_silent = all(one.kind == NOT_VERIFIED for one in report.differences)
    return "NOT VERIFIED: nodes are silent" if only_silent else "NOT EQUAL"


def _print_range(retained: Range) -> None:
    """From where on everything was recounted; what was before, by its manifests."""
    for node, journal in retained.journals.items():
        click.echo(
            f"recounted: journals of {node} from {journal.first_at or 'now'}; "
            f"before that {journal.sealed_legs:,} legs by manifests"
        )
    for topic, partitions in retained.topics.items():
        if not any(one.first_offset for one in partitions):
            first = min((one.first_at for one in partitions if one.first_at), default="none yet")
            click.echo(f"recounted: {topic} from its first message ({first})")
            continue
        starts = ", ".join(f"{one.partition}: {one.first_offset} ({one.first_at or 'empty'})" for one in partitions)
        sealed = sum(one.sealed_legs for one in partitions)
        click.echo(f"recounted: {topic} from offsets {starts}; before that {sealed:,} legs by manifests")


def _nodes(report: AuditReport) -> str:
    return ", ".join(f"{node} {legs:,}" for node, legs in report.nodes.items()) or "none"


def print_last(dsn: str, *, as_json: bool) -> int:
    """Print the last run; the exit code: 0 equal, 1 not, 2 there was none. Raises psycopg.Error."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        run = last_run(connection, _NAMED)
    if as_json:
        click.echo(json.dumps(None if run is None else run._asdict(), default=str))
    elif run is None:
        click.echo("the continuous audit has not run yet")
    else:
        _print_run(run)
    return 2 if run is None else 0 if run.ok else 1


def _print_run(run: LastRun) -> None:
    click.echo(
        f"{run.at:%Y-%m-%d %H:%M:%S %Z}, in {run.seconds:.2f} s: {run.rated:,} rated legs read, {run.posted:,} entries "
        f"counted, {run.compared:,} legs equal everywhere, {run.waiting:,} on their way"
    )
    for one in run.open:
        since = f"since {one['since']:%Y-%m-%d %H:%M:%S}"
        click.echo(click.style(f"{one['kind']}: {one['subject']} {since} {one['detail']}", fg="red"))
    click.echo(click.style("equal" if run.ok else f"{run.differences} DIFFERENCES", fg="green" if run.ok else "red"))
