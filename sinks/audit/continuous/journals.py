"""The journals' side: what the agents found in their own journals, and agents that have not looked for long."""

from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from sinks.audit.continuous.fold import Difference
from sinks.audit.continuous.store import ms_of

BEHIND: Final = "journal not audited by its node's agent"
MOST_NAMED: Final = 2_000
SILENT: Final = timedelta(minutes=5)
_WRONG: Final = """
    SELECT kind, subject, since, detail FROM audit_journal_findings WHERE state = 'wrong'
    ORDER BY since, subject LIMIT %s
"""
# An agent that has ended with nothing left to count owes nothing; one that was killed, or cannot go on, does.
_BEHIND: Final = """
    SELECT node, at, waiting_bytes FROM audit_journals LEFT JOIN nodes ON nodes.name = node
    WHERE at < %(silent)s AND (waiting_bytes > 0 OR nodes.last_seen_at >= %(silent)s)
"""


def journal_differences(connection: psycopg.Connection[Any], now: datetime) -> list[Difference]:
    """What is wrong between journals and ledger, as the agents have seen it. Raises psycopg.Error."""
    found = [
        Difference(kind, subject, ms_of(since), detail)
        for kind, subject, since, detail in connection.execute(_WRONG, (MOST_NAMED,)).fetchall()
    ]
    found += [
        Difference(BEHIND, node, ms_of(at), f"{waiting} bytes waited when it looked last")
        for node, at, waiting in connection.execute(_BEHIND, {"silent": now - SILENT}).fetchall()
    ]
    return found
