"""Names of companies, peers and destinations by id, from PostgreSQL, kept for a while, longer while it is away."""

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import psycopg
import structlog

from runtime.postgres_pool import Connections

_log = structlog.get_logger(__name__)
_KEEP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Names:
    """By id. What is not known is `#id`."""

    companies: dict[int, str] = field(default_factory=dict)
    peers: dict[int, str] = field(default_factory=dict)
    destinations: dict[int, str] = field(default_factory=dict)

    def company(self, company_id: int) -> str:
        """A company's name."""
        return self.companies.get(company_id) or (f"#{company_id}" if company_id else "")

    def destination(self, destination_id: int) -> str:
        """A destination's name."""
        return self.destinations.get(destination_id) or (f"#{destination_id}" if destination_id else "")


class NameStore:
    """Safe to use from every thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._guard = threading.Lock()
        self._names = Names()
        self._read_at = float("-inf")

    def names(self) -> Names:
        """The names as of some seconds ago at most, as long as PostgreSQL answers."""
        with self._guard:
            if time.monotonic() - self._read_at > _KEEP_SECONDS:
                self._read_at = time.monotonic()
                try:
                    self._names = self._read()
                except psycopg.Error as error:
                    _log.warning("names stay as they were", error=str(error)[:200])
            return self._names

    def _read(self) -> Names:
        with self._connections.lent(read_only=True) as connection:
            return Names(
                dict(connection.execute("SELECT company_id, name FROM companies").fetchall()),
                dict(connection.execute("SELECT peer_id, name FROM peers").fetchall()),
                dict(connection.execute("SELECT destination_id, name FROM destinations").fetchall()),
            )
