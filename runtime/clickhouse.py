"""One way to reach ClickHouse, for every room: clickhouse-connect over HTTP, without sessions of its own making.

An automatic session would let only one query of a client run at a time, and lets settings live on between queries.
"""

import os
from functools import cache, partial
from typing import Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from runtime.connections import ClickHouse
from runtime.listeners import require_own

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 60


class _OwnConnection(HTTPConnection):
    """Goes to nobody's server but that of the user of this number."""

    def __init__(self, *args: Any, run_by: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._run_by = run_by

    def connect(self) -> None:
        super().connect()
        require_own(int(self.sock.getpeername()[1]), self._run_by)


@cache
def _own_pool(run_by: int, _: int) -> PoolManager:
    """One for each process (its number), as the driver's own is: a child must not use its parent's connections."""

    class Pool(HTTPConnectionPool):
        ConnectionCls = partial(_OwnConnection, run_by=run_by)  # type: ignore[assignment]

    manager: PoolManager = get_pool_manager()
    manager.pool_classes_by_scheme = {"http": Pool}
    return manager


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
        pool_mgr=None if settings.run_by is None else _own_pool(settings.run_by, os.getpid()),
    )
