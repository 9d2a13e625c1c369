"""ClickHouse's engine behind its own HTTP interface, as a `Server`: one owner process, clients as of any ClickHouse.

The data directory survives kill -9: an insert that was acknowledged is there, one that was not is there whole or not at
all. Not a ClickHouse server: users are the logins of front/logins.py, no Kafka engine, no replication.
"""

import functools
import os
import socket
import sys
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.exceptions import Error

from runtime.clickhouse import connect
from streamco.embedded.front.main import settings_text
from streamco.embedded.ports import require_free_port
from streamco.embedded.server import Progress, Server, ServerError
from streamco.embedded.settings import LOOPBACK, ClickHouseServer

_ROOT: Final = Path(__file__).resolve().parents[2]
_HEALTH_SECONDS: Final = 4


def clickhouse_server(settings: ClickHouseServer) -> Server:
    """The server of these settings. Its data is in `settings.directory`/data."""
    return Server(
        name="clickhouse",
        address=f"{LOOPBACK}:{settings.port}",
        directory=settings.directory,
        prepare=functools.partial(_prepare, settings),
        argv=(sys.executable, "-m", "streamco.embedded.front.main"),
        env={
            "PATH": os.defpath,
            "HOME": str(settings.directory),
            "PYTHONPATH": str(_ROOT),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        },
        given=settings_text(settings).encode(),
        healthy=functools.partial(_healthy, settings),
        stop_seconds=30.0,
    )


def _prepare(settings: ClickHouseServer, _: Progress) -> None:
    settings.directory.mkdir(parents=True, exist_ok=True)
    settings.directory.chmod(0o700)
    (settings.directory / "data").mkdir(exist_ok=True)
    require_free_port("ClickHouse", settings.port)


def _healthy(settings: ClickHouseServer) -> None:
    try:
        # A closed port is the common case while it starts; the client would log every attempt.
        socket.create_connection((LOOPBACK, settings.port), timeout=2).close()
        with connect(settings.connection, database="default", answer_seconds=_HEALTH_SECONDS) as client:
            client.command("SELECT 1")
    except (Error, OSError) as error:
        raise ServerError(f"ClickHouse does not answer: {str(error)[:500]}") from error
