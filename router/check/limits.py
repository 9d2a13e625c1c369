"""Which limits have no room on a node just now, as the routers see it: one look into PostgreSQL, nothing counted."""

from typing import Literal, NamedTuple

import psycopg

from router.check.question import Question
from router.check.saved import Lend
from router.core.limit_keys import stopped_key
from router.server.full_limits import STATEMENT, full_of
from router.server.stops import STATEMENT as STOPPED_PEERS

Known = Literal["read", "away", "unknown"]


class Room(NamedTuple):
    """Keys of limits without room on a node, and of peers that get no call (`World.closed`); whether they are known."""

    known: Known
    full: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()


def read_room(lend: Lend, question: Question) -> Room:
    """The same, of the node that is asked of: of another moment, or without a node, nobody knows them."""
    if question.at_ms is not None or not question.node:
        return Room("unknown")
    try:
        with lend() as connection:
            rows = connection.execute(STATEMENT.encode()).fetchall()
            stopped = connection.execute(STOPPED_PEERS.encode()).fetchall()
    except psycopg.Error:
        return Room("away")
    full = full_of(rows).get(question.node, frozenset())
    return Room("read", full, frozenset(stopped_key(peer_id) for (peer_id,) in stopped))
