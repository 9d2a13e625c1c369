"""The owner of a ClickHouse directory: `python -m streamco.embedded.front.main`.

Its settings are JSON on its standard input. One process owns the directory. It ends on SIGTERM: no new request, running
queries have a few seconds and are killed then, the engine is closed.
"""

import asyncio
import fcntl
import json
import socket
import sys
import threading
from types import FrameType
from typing import Final, TextIO

import uvicorn

from streamco.embedded.front.engine import Engine
from streamco.embedded.front.http import Front
from streamco.embedded.settings import LOOPBACK, ClickHouseServer
from streamco.handover import taken

_QUERY_SECONDS: Final = 300
# Beside the time: data that arrives is never read as SQL.
_DEFAULTS: Final = {
    "max_execution_time": str(_QUERY_SECONDS),
    "input_format_values_interpret_expressions": "0",
    "input_format_values_deduce_templates_of_expressions": "0",
}
_STOP_SECONDS: Final = 5
_KILLED_SECONDS: Final = 10
_BACKLOG: Final = 256


def settings_text(settings: ClickHouseServer) -> str:
    """The settings as they are handed over, the passwords with them."""
    secrets = {name: getattr(settings, name).get_secret_value() for name in ("password", "reader_password")}
    return json.dumps(settings.model_dump(mode="json") | secrets)


def own(settings: ClickHouseServer) -> TextIO:
    """Take the directory until the file returned is closed. Exits with a message when another process has it."""
    file = (settings.directory / "owner.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{settings.directory} is owned by another process: only one may serve it")
    return file


class _Server(uvicorn.Server):
    """uvicorn, but for its end: it would raise the signal again before the engine is closed, and wait for queries."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # In a thread, since the loop has to go on sending the errors of the queries that are killed.
        kill = threading.Thread(target=self._engine.kill_all)
        timer = asyncio.get_running_loop().call_later(_STOP_SECONDS, kill.start)
        await super().shutdown(sockets)
        timer.cancel()


def main() -> None:
    """Serve until SIGTERM."""
    settings = ClickHouseServer.model_validate_json(taken())
    owned = own(settings)
    engine = Engine(
        settings.directory / "data",
        server_settings={"max_server_memory_usage": str(settings.memory_bytes), "timezone": "UTC"},
        defaults=_DEFAULTS | {"max_memory_usage": str(settings.memory_bytes // 2)},
        most_sessions=settings.max_sessions,
        session_seconds=settings.session_seconds,
        database=settings.database,
    )
    config = uvicorn.Config(
        Front(engine, settings).application(),
        host=LOOPBACK,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_STOP_SECONDS + _KILLED_SECONDS,
    )
    _Server(config, engine).run()
    engine.close()
    owned.close()


if __name__ == "__main__":
    main()
