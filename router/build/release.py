"""Reads release tables for the builder."""

from typing import Any, Final

import psycopg

from schemas.release import Rule, encode_rules

_RULES: Final = """
    SELECT release_table_id, kind, code, action, coalesce(caller_cause, 0)
    FROM release_rules ORDER BY release_table_id, kind, code
"""


def read_release_rules(connection: psycopg.Connection[Any]) -> dict[int, str]:
    """Each table's rules by its id, as the dialplan reads them. Raises ReleaseError."""
    tables: dict[int, list[Rule]] = {}
    for table_id, *rule in connection.execute(_RULES):
        tables.setdefault(table_id, []).append(Rule(*rule))
    return {table_id: encode_rules(rules) for table_id, rules in tables.items()}
