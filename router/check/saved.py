"""What is saved of a peer's patterns, for people who try others: read from PostgreSQL, nothing changed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import psycopg

from router.check.trial import FIELDS, SavedRules, TrialRule
from runtime.connections import Postgres
from tariffs.numbers import Country

MOST_NAMES: Final = 5_000
_LONGEST_NAME: Final = 64
_CONNECT_SECONDS: Final = 3
Lend = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]
"""A connection that reads, for as long as its block takes; raises psycopg.Error."""
_PEER: Final = "SELECT peer_id, role, tech_prefix, country_code, national_prefix FROM peers WHERE name = %s"
_RULES: Final = "SELECT field, pattern, replacement FROM translations WHERE peer_id = %s ORDER BY field, position"
_NAMES: Final = "SELECT name FROM peers ORDER BY name LIMIT %s"


def connect_to_read(postgres: Postgres) -> psycopg.Connection[Any]:
    """A connection that reads, each statement within seconds. Raises psycopg.Error."""
    connection = psycopg.connect(
        postgres.dsn.get_secret_value(),
        connect_timeout=_CONNECT_SECONDS,
        options=f"-c statement_timeout={_CONNECT_SECONDS * 1000}",
    )
    connection.read_only = True
    return connection


def read_saved(connection: psycopg.Connection[Any], peer: str) -> SavedRules | None:
    """What is saved of the peer of this name; None: there is none. Raises psycopg.Error."""
    if not peer or len(peer) > _LONGEST_NAME or "\x00" in peer:
        return None
    row = connection.execute(_PEER, (peer,)).fetchone()
    if row is None:
        return None
    peer_id, role, tech_prefix, country_code, national_prefix = row
    found = connection.execute(_RULES, (peer_id,)).fetchall()
    return SavedRules(
        peer,
        "in" if role == "originator" else "out",
        tech_prefix,
        Country(country_code, national_prefix),
        {name: tuple(TrialRule(*rule) for field, *rule in found if field == name) for name in FIELDS},
    )


def read_names(connection: psycopg.Connection[Any]) -> list[str]:
    """Peers' names in their order, the first MOST_NAMES. Raises psycopg.Error."""
    return [name for (name,) in connection.execute(_NAMES, (MOST_NAMES,)).fetchall()]
