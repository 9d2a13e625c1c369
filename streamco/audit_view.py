"""The audit's report for people."""

import click

from schemas.money import decimal_from_micros
from sinks.audit import AuditReport


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
    click.echo(f"holds open: {report.holds_open}")
    for one in report.differences:
        click.echo(click.style(f"{one.kind}: {one.leg_id or one.account_id or ''} {one.detail or ''}", fg="red"))
    if report.differences_total > len(report.differences):
        click.echo(f"… {report.differences_total - len(report.differences)} more")
    verdict = ("equal to the last micro-unit", "green") if report.ok else ("NOT EQUAL", "red")
    click.echo(click.style(verdict[0], fg=verdict[1]))


def _nodes(report: AuditReport) -> str:
    return ", ".join(f"{node} {legs:,}" for node, legs in report.nodes.items()) or "none"
