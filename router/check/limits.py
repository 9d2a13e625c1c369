"""Which limits have no room on a node just now, as the routers see it: one look into PostgreSQL, nothing counted."""

from typing import Literal

import psycopg

from router.check.question import Question
from router.check.saved import Lend
from router.core.limit_keys import stopped_key
from router.server.full_limits import STATEMENT, full_of
from router.server.stops import STATEMENT as STOPPED_PEERS

Known = Literal["read", "away", "unknown"]
_NONE: frozenset[str] = frozenset()


def read_full(lend: Lend, question: Question) -> tuple[frozenset[str], Known]:
    """The keys without room on the node that is asked of, and whether they are known: of another moment, or without a
    node, nobody knows them.
    """
    if question.at_ms is not None or not question.node:
        return _NONE, "unknown"
    try:
        with lend() as connection:
            rows = connection.execute(STATEMENT.encode()).fetchall()
            stopped = connection.execute(STOPPED_PEERS.encode()).fetchall()
    except psycopg.Error:
        return _NONE, "away"
    return full_of(rows).get(question.node, _NONE) | {stopped_key(peer_id) for (peer_id,) in stopped}, "read"
