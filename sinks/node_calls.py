"""The calls that are really there on a node, as its agent's last status had them: the audit's witness."""

from collections.abc import Sequence
from typing import Any, Final

import psycopg

LIST_CALLS: Final = """
    INSERT INTO node_calls (node, heard_at, calls) VALUES (%s, clock_timestamp(), %s::text[])
    ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at, calls = excluded.calls
"""


def list_calls(connection: psycopg.Connection[Any], node: str, call_ids: Sequence[str]) -> None:
    """Replace what is known of a node by the calls of a status just taken. Raises psycopg.Error."""
    connection.execute(LIST_CALLS, (node, list(call_ids)))
