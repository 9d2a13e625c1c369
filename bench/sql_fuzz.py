"""SQLFUZZ: a hundred thousand hostile requests of a people's login against ClickHouse's owner: nothing comes out.

A canary file, a listener and a writable folder: no answer has the canary's text, nothing connects, no file is made.
`--control` runs statements on an engine without the front instead: how many of them reach something there. What the
statements are worth is seen by that.
"""

import argparse
import contextlib
import http.client
import re
import secrets
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bench.figures import say
from bench.hostile_sql import Hostile, Names, Targets, hostile
from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from streamco.clickhouse_access.functions import is_reviewed
from streamco.clickhouse_access.register import Register
from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.front.wire import EngineError
from streamco.embedded.settings import LOOPBACK, ClickHouseServer
from streamco.embedded.temporary import TemporaryServers, free_port, password

_SECONDS: Final = 120
_PIECE: Final = 4_000  # fewer than an analyst may ask within an hour
_THREADS: Final = 4  # as many as an analyst may have at once
_CODE: Final = re.compile(r"Code: (\d+)")
_WHY: Final = {497: "refused", 115: "refused", 452: "refused", 73: "refused", 164: "refused", 62: "no statement"}
_CONTROL: Final = {"max_execution_time": "3", "http_max_tries": "1", "connections_with_failover_max_tries": "1"}
_TABLE: Final = "CREATE TABLE IF NOT EXISTS {database}.{name} ({columns}) ENGINE = MergeTree ORDER BY tuple()"


@dataclass
class Trap:
    """The canary, the listener and the folder; `connections` are those that came."""

    targets: Targets
    text: str
    connections: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def files(self) -> list[str]:
        """What has been made in the folder."""
        return sorted(path.name for path in Path(self.targets.folder).iterdir())

    def listen(self, listener: socket.socket) -> None:
        """Count connections, and end each at once."""
        while not self._over.is_set():
            try:
                listener.accept()[0].close()
            except TimeoutError:
                continue
            self.connections += 1

    def end(self) -> None:
        """No more."""
        self._over.set()


@contextmanager
def trap(directory: Path) -> Iterator[Trap]:
    """A trap below `directory`."""
    text = f"canary-{secrets.token_hex(16)}"
    (directory / "canary.txt").write_text(f"{text}\n")
    folder = directory / "writable"
    folder.mkdir()
    with socket.create_server((LOOPBACK, free_port()), backlog=64) as listener:
        listener.settimeout(0.2)
        set_up = Trap(Targets(str(directory / "canary.txt"), str(folder), listener.getsockname()[1]), text)
        thread = threading.Thread(target=set_up.listen, args=(listener,))
        thread.start()
        try:
            yield set_up
        finally:
            set_up.end()
            thread.join()


def listed(column: Callable[[str], list[str]]) -> Names:
    """What the engine lists. `column` runs a statement of one column."""
    functions = column("SELECT name FROM system.functions ORDER BY name")
    return Names(
        table_functions=column("SELECT name FROM system.table_functions ORDER BY name"),
        functions=functions,
        reaching=[name for name in functions if not is_reviewed(name)],
        engines=column("SELECT name FROM system.table_engines ORDER BY name"),
    )


def make_tables(writer: ClickHouse, database: str) -> None:
    """The tables that an analyst sees, empty, and one that is nobody's business."""
    with connect(writer, database="default") as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        for name in ("legs", "decisions", "judged_legs", "secret"):
            client.command(_TABLE.format(database=database, name=name, columns="call_id String"))


class Asker:
    """Asks as one login; one connection a thread. Use as a context manager."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._port = port
        self._headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        self._own = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all:
            connection.close()

    def ask(self, request: Hostile) -> tuple[int, str]:
        """Status and text of the answer; 0 where the connection broke."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=_SECONDS)
            self._all.append(connection)
        method = "GET" if request.body is None else "POST"
        try:
            connection.request(method, request.path, request.body, self._headers | request.headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._own.connection = None
            return 0, str(error)


def new_analyst(settings: ClickHouseServer, login: str) -> Asker:
    """A person's login that is made now."""
    return Asker(settings.port, login, Register(settings.directory).add(login, "now", frozenset()))


def attack(asker: Asker, set_up: Trap, names: Names, seeds: Sequence[int]) -> Counter[str]:
    """Run the requests of these seeds. What became of each: `answered`; by whom it was refused; `broken`: no answer.

    Raises AssertionError with the request that has brought something out.
    """
    seen: Counter[str] = Counter()

    def one(seed: int) -> str:
        request = hostile(seed, names, set_up.targets)
        status, text = asker.ask(request)
        assert set_up.text not in text, (seed, request)
        if status == 200:
            return "answered"
        code = _CODE.match(text)
        return _WHY.get(int(code[1]), "engine") if code is not None else "broken"

    with ThreadPoolExecutor(_THREADS) as pool:
        seen.update(pool.map(one, seeds))
    assert set_up.files() == [], (seeds[0], seeds[-1], set_up.files())
    assert set_up.connections == 0, (seeds[0], seeds[-1], set_up.connections)
    return seen


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench SQLFUZZ")
    parser.add_argument("--statements", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", type=int, default=0, help="so many statements without the front, instead")
    options = parser.parse_args(arguments)
    if options.control:
        return _control(options.control, options.seed)
    with TemporaryServers() as servers, trap(servers.directory) as set_up:
        settings = ClickHouseServer(
            directory=servers.directory / "clickhouse", port=free_port(), password=SecretStr(password())
        )
        servers.start(clickhouse_server(settings))
        make_tables(settings.connection, settings.database)
        with connect(settings.connection, database="default") as client:
            names = listed(lambda sql: [str(row[0]) for row in client.query(sql).result_rows])
        seen: Counter[str] = Counter()
        begun = time.monotonic()
        for first in range(0, options.statements, _PIECE):
            last = min(first + _PIECE, options.statements)
            with new_analyst(settings, f"fuzz{first}") as asker:
                seen += attack(asker, set_up, names, range(options.seed + first, options.seed + last))
            say(f"{last} requests, {dict(seen)}")
        return {
            "statements": sum(seen.values()),
            **seen,
            "canaries": 0,
            "connections": set_up.connections,
            "files": len(set_up.files()),
            "seconds": round(time.monotonic() - begun, 1),
        }


def _control(statements: int, seed: int) -> dict[str, Any]:
    """How many of the requests' statements reach something on an engine that nothing stands before."""
    from streamco.embedded.front.engine import Engine

    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place, trap(Path(place)) as set_up:
        engine = Engine(
            Path(place) / "data", server_settings={}, defaults=_CONTROL, most_sessions=1, session_seconds=1,
            database="streamco",
        )  # fmt: skip
        names = listed(lambda sql: engine.ask_whole(sql).split())
        for number in range(seed, seed + statements):
            sql = hostile(number, names, set_up.targets).sql
            if not sql.startswith(("SYSTEM", "KILL", "SELECT 1;", "EXECUTE")):
                seen.update(_reached(engine, sql, set_up))
        engine.close()
    return {"statements": statements, **seen}


def _reached(engine: Any, sql: str, set_up: Trap) -> Iterator[str]:
    connections = set_up.connections
    Path(set_up.targets.canary).write_text(f"{set_up.text}\n")
    with contextlib.suppress(EngineError):
        if set_up.text in engine.ask(sql):
            yield "canaries"
    if set_up.connections > connections:
        yield "connections"
    for made in set_up.files():
        yield "files"
        Path(set_up.targets.folder, made).unlink()
