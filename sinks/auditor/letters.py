"""Dead letters that nobody has decided about: each may be a call that nobody has billed, so the audit differs."""

from typing import Any, Final

import psycopg

from sinks.auditor.fold import Difference
from sinks.auditor.store import ms_of

OPEN_LETTER: Final = "open dead letter"
MAX_NAMED: Final = 2_000
_OPEN: Final = "SELECT origin, at, leg_id FROM dead_letters WHERE state = 'open' ORDER BY at, origin LIMIT %s"


def letter_differences(connection: psycopg.Connection[Any]) -> list[Difference]:
    """The oldest open letters by their origin, with the leg where it is known. Raises psycopg.Error."""
    rows = connection.execute(_OPEN, (MAX_NAMED,)).fetchall()
    return [Difference(OPEN_LETTER, origin, ms_of(at), leg_id) for origin, at, leg_id in rows]
