"""How the agent's own connections to PostgreSQL are made: those of the counters, the limits and the journal's audit."""

from typing import Any

import psycopg

from agent.settings import AgentSettings


def connect(settings: AgentSettings, name: str, seconds: float, options: str) -> psycopg.Connection[Any]:
    """In autocommit mode, and given up when the server's machine has not answered for so long.

    `name`: what PostgreSQL shows it as. `options`: of the server's, as `-c` has them. Raises psycopg.Error.
    """
    return psycopg.connect(
        settings.postgres.dsn.get_secret_value(),
        autocommit=True,
        connect_timeout=max(2, int(seconds)),
        application_name=f"streamco {name}",
        options=options,
        tcp_user_timeout=int(seconds * 1000),
    )
