"""One way to reach ClickHouse, for every room: clickhouse-connect over HTTP, without sessions of its own making.

An automatic session would let only one query of a client run at a time, and lets settings live on between queries.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from schemas.connections import ClickHouse

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 60


def connect(
    settings: ClickHouse,
    *,
    database: str | None = None,
    answer_seconds: int = ANSWER_SECONDS,
    query_settings: dict[str, Any] | None = None,
) -> Client:
    """A client of `settings.database` (or the one given), safe to share between threads.

    Raises clickhouse_connect's errors when the server is away, the password wrong or the database unknown.
    `query_settings` go with every query of this client.
    """
    url = urlsplit(settings.url)
    return clickhouse_connect.get_client(
        host=url.hostname,
        port=url.port or (8443 if url.scheme == "https" else 8123),
        interface=url.scheme,
        username=settings.user,
        password=settings.password.get_secret_value(),
        database=database or settings.database,
        autogenerate_session_id=False,
        connect_timeout=CONNECT_SECONDS,
        send_receive_timeout=answer_seconds,
        settings=query_settings or {},
        client_name="streamco",
    )
