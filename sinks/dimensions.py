"""Names for the CDRs: companies, peers and destinations as they are called when a leg is rated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg


@dataclass(frozen=True)
class Dimensions:
    """Names by id. An id that is not there has an empty name."""

    companies: Mapping[int, str] = field(default_factory=dict)
    peers: Mapping[int, str] = field(default_factory=dict)
    destinations: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # (name, country)

    def knows(self, company_ids: set[int], peer_ids: set[int], destination_ids: set[int]) -> bool:
        """Whether every id (0: none) has a name here."""
        return (
            company_ids - {0} <= self.companies.keys()
            and peer_ids - {0} <= self.peers.keys()
            and destination_ids - {0} <= self.destinations.keys()
        )


async def read_dimensions(connection: psycopg.AsyncConnection[Any]) -> Dimensions:
    """All names, from PostgreSQL."""
    companies = await connection.execute("SELECT company_id, name FROM companies")
    peers = await connection.execute("SELECT peer_id, name FROM peers")
    destinations = await connection.execute("SELECT destination_id, name, country FROM destinations")
    return Dimensions(
        dict(await companies.fetchall()),
        dict(await peers.fetchall()),
        {row[0]: (row[1], row[2]) for row in await destinations.fetchall()},
    )
