"""Hours at rest: all CDRs of an hour against all the ledger's legs of it, so that a surplus shows as well."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from clickhouse_connect.driver.client import Client

from sinks.audit.continuous import store
from sinks.audit.continuous.cdrs import hour_legs, hour_sums
from sinks.audit.continuous.fold import Difference, Sums
from sinks.audit.continuous.posted import dead_letters_of

MOST_NAMED: Final = 100
REPEATED_CDR: Final = "leg with more than one CDR"
_LEGS: Final = """
    SELECT reference, (sum(CASE WHEN contra.name LIKE 'revenue %%' THEN -amount ELSE amount END) * 1000000)::bigint
    FROM ledger_entries AS entries JOIN accounts AS contra ON contra.account_id = contra_account_id
    WHERE occurred_at >= %s AND occurred_at < %s AND entries.kind <> 'payment' AND split_part(reference, '-', 1) = %s
    GROUP BY 1
"""


def compare_hours(
    connection: psycopg.Connection[Any], client: Client, before: datetime, now_ms: int
) -> list[Difference]:
    """Compare the hours that have not changed since `before` and were not compared; those that are equal are done."""
    found: list[Difference] = []
    equal = []
    for hour_ms, ledger in store.hours_at_rest(connection, before).items():
        cdrs = hour_sums(client, hour_ms)
        nodes = [
            node for node in sorted(ledger.keys() | cdrs.keys()) if ledger.get(node, Sums()) != cdrs.get(node, Sums())
        ]
        if not nodes:
            equal.append(hour_ms)
        named = [one for node in nodes for one in _named(connection, client, hour_ms, node, now_ms)]
        if nodes and not named:  # but for what the ledger refused
            equal.append(hour_ms)
        found += named
    store.set_compared(connection, equal)
    return found


def _named(
    connection: psycopg.Connection[Any], client: Client, hour_ms: int, node: str, now_ms: int
) -> list[Difference]:
    """The legs by which an hour differs; the hour itself where no leg does (its sums were wrong)."""
    hour = store.moment_of(hour_ms)
    posted: dict[str, int] = dict(connection.execute(_LEGS, (hour, hour + timedelta(hours=1), node)).fetchall())
    written = hour_legs(client, hour_ms, node)
    # What the ledger has refused is rated and has its CDR: it waits among the dead letters, or was discarded.
    refused = dead_letters_of(connection, sorted(written.keys() - posted.keys()))
    for leg_id in refused:
        del written[leg_id]
    found = []
    for leg_id in sorted(posted.keys() | written.keys()):
        micros, times = written.get(leg_id, (None, 0))
        if times > 1:
            found.append(Difference(REPEATED_CDR, leg_id, now_ms, f"{times} CDRs"))
        elif posted.get(leg_id) != micros:
            kind = (
                "CDR of no posted leg" if leg_id not in posted
                else "posted leg without CDR" if not times
                else "CDR and ledger differ"
            )  # fmt: skip
            found.append(Difference(kind, leg_id, now_ms, f"posted {posted.get(leg_id)}, CDR {micros}"))
    if not found and not refused:
        text = hour.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
        found = [Difference("sums of an hour differ, though no leg does", f"{node} {text}", now_ms)]
    return found[:MOST_NAMED]
