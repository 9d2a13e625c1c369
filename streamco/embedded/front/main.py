"""The owner of a ClickHouse directory: `python -m streamco.embedded.front.main`, settings as JSON in the environment.

One process owns the directory. It ends on SIGTERM: no new request, running queries are killed, the engine is closed.
"""

import fcntl
import json
import os
import sys
from typing import Final, TextIO

import uvicorn

from streamco.embedded.front.engine import Engine
from streamco.embedded.front.http import Front
from streamco.embedded.settings import LOOPBACK, ClickHouseServer

SETTINGS_VARIABLE: Final = "CLICKHOUSE_FRONT_SETTINGS"
_QUERY_SECONDS: Final = 300
_STOP_SECONDS: Final = 5
_BACKLOG: Final = 256


def settings_text(settings: ClickHouseServer) -> str:
    """The settings as the environment carries them, the password with them."""
    return json.dumps(settings.model_dump(mode="json") | {"password": settings.password.get_secret_value()})


def own(settings: ClickHouseServer) -> TextIO:
    """Take the directory until the file returned is closed. Exits with a message when another process has it."""
    file = (settings.directory / "owner.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{settings.directory} is owned by another process: only one may serve it")
    return file


def main() -> None:
    """Serve until SIGTERM."""
    settings = ClickHouseServer.model_validate_json(os.environ.pop(SETTINGS_VARIABLE))
    owned = own(settings)
    engine = Engine(
        settings.directory / "data",
        server_settings={"max_server_memory_usage": str(settings.memory_bytes), "timezone": "UTC"},
        defaults={"max_execution_time": str(_QUERY_SECONDS), "max_memory_usage": str(settings.memory_bytes // 2)},
        most_sessions=settings.max_sessions,
        session_seconds=settings.session_seconds,
    )
    config = uvicorn.Config(
        Front(engine, settings).application(),
        host=LOOPBACK,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    uvicorn.Server(config).run()
    engine.kill_all()
    engine.close()
    owned.close()


if __name__ == "__main__":
    main()
