"""Dead letters that nobody has decided about: each may be a call that nobody has billed, so the audit differs."""

from typing import Any, Final

import psycopg

from sinks.audit.continuous.fold import Difference
from sinks.audit.continuous.store import ms_of

OPEN_LETTER: Final = "open dead letter"
WAITING_LETTERS: Final = "dead letters that wait for room"
MAX_NAMED: Final = 2_000
_WAITING: Final = """
    SELECT peer_id, min(since), string_agg('dead-letters/' || partition || ' from ' || from_offset, ', ')
    FROM waiting_letters GROUP BY peer_id ORDER BY peer_id LIMIT %s
"""
_OPEN: Final = "SELECT origin, at, leg_id FROM dead_letters WHERE state = 'open' ORDER BY at, origin LIMIT %s"


def letter_differences(connection: psycopg.Connection[Any]) -> list[Difference]:
    """The oldest open letters by their origin, with the leg where it is known; and whose further ones wait in their
    topic. Raises psycopg.Error.
    """
    rows = connection.execute(_OPEN, (MAX_NAMED,)).fetchall()
    found = [Difference(OPEN_LETTER, origin, ms_of(at), leg_id) for origin, at, leg_id in rows]
    waiting = connection.execute(_WAITING, (MAX_NAMED,)).fetchall()
    return [*found, *(Difference(WAITING_LETTERS, f"peer {peer}", ms_of(at), where) for peer, at, where in waiting)]
