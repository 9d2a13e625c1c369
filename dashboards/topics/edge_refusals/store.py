"""Requests that nodes refused before their dialplans, from PostgreSQL."""

from collections.abc import Sequence

import psycopg
import structlog

from dashboards.kit.queries import SourceAwayError
from runtime.postgres_pool import Connections
from sinks.edge_refusals import EdgeRefusal, list_edge_refusals

_log = structlog.get_logger(__name__)


class EdgeRefusalStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        """Nothing is opened yet."""
        self._connections = connections

    def newest(self, limit: int, seconds: int, node: str, network: str | None) -> Sequence[EdgeRefusal]:
        """The newest `limit` of the last so many seconds; of one node unless "", of one network unless None.

        Raises SourceAwayError.
        """
        try:
            with self._connections.lent(read_only=True) as connection:
                return list_edge_refusals(connection, limit, seconds=seconds, node=node, network=network)
        except psycopg.Error as error:
            _log.warning("refusals of nodes cannot be read", error=str(error)[:200])
            raise SourceAwayError("PostgreSQL does not answer.") from error
