"""Patterns of numbers tried before they are saved, for page and API: PostgreSQL tells what is saved. Saves nothing."""

import psycopg
import structlog

from dashboards.kit.queries import SourceAwayError
from router.check import (
    SavedRules,
    TrialQuestion,
    Tried,
    read_names,
    read_saved,
    try_rules,
)
from runtime.postgres_pool import Connections

log = structlog.get_logger(__name__)


class Trials:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        """Nothing is opened yet."""
        self._connections = connections

    def ask(self, question: TrialQuestion) -> Tried:
        """What becomes of the numbers. Raises TrialError, SourceAwayError. Of no peer, nobody is asked."""
        return try_rules(question, self.saved(question.peer) if question.peer else None)

    def saved(self, peer: str) -> SavedRules | None:
        """What is saved of a peer; None: there is none of that name. Raises SourceAwayError."""
        try:
            with self._connections.lent(read_only=True) as connection:
                return read_saved(connection, peer)
        except psycopg.Error as error:
            log.warning("saved patterns cannot be read", error=str(error)[:200])
            raise SourceAwayError("PostgreSQL does not answer: what is saved of this peer is not known") from error

    def names(self) -> list[str]:
        """All peers' names; none while PostgreSQL does not answer."""
        try:
            with self._connections.lent(read_only=True) as connection:
                return read_names(connection)
        except psycopg.Error as error:
            log.warning("peers' names cannot be read", error=str(error)[:200])
            return []
