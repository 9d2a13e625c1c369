"""Names of companies, peers and destinations by id, from PostgreSQL, kept for a while, longer while it is away."""

from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from dashboards.kit.cached_read import CachedRead
from runtime.postgres_pool import Connections

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
        self._cached = CachedRead(
            connections,
            _read,
            first=Names(),
            when_down=lambda names: names,
            keep_seconds=_KEEP_SECONDS,
            failed="names stay as they were",
        )

    def names(self) -> Names:
        """The names as of some seconds ago at most, as long as PostgreSQL answers."""
        return self._cached.current()


def _read(connection: psycopg.Connection[Any]) -> Names:
    return Names(
        dict(connection.execute("SELECT company_id, name FROM companies").fetchall()),
        dict(connection.execute("SELECT peer_id, name FROM peers").fetchall()),
        dict(connection.execute("SELECT destination_id, name FROM destinations").fetchall()),
    )
