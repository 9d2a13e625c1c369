"""Several router processes behind one port: one is killed, one hangs, and calls go on."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from agi_client import SECRET, ask, header
from small_world import make_small_world

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[3]


class Routers:
    """Processes that were given one listening socket, as the supervisor gives it."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self._dsn = dsn
        self._directory = directory
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, sessions: str = "sessions") -> None:
        settings = {
            "snapshot": {"postgres": {"dsn": self._dsn}, "directory": str(self._directory / "snapshot")},
            "kafka": {"bootstrap": "127.0.0.1:9"}, "spool": str(self._directory / f"spool-{number}.sqlite"),
            "port": 1, "listener": self._listener.fileno(),
            "beat": str(self.beat(number)), "agi_secret": SECRET, "sessions": str(self._directory / sessions),
        }  # fmt: skip
        with (self._directory / f"log-{number}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.agi_server", "router", str(os.getpid())],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, pass_fds=(self._listener.fileno(),),
            )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps({"settings": settings}).encode() + b"\n")
        process.stdin.close()
        self.running[number] = process
        deadline = time.monotonic() + 60
        while not self.beat(number).exists():
            assert time.monotonic() < deadline, (self._directory / f"log-{number}").read_text()
            assert process.poll() is None, (self._directory / f"log-{number}").read_text()
            time.sleep(0.05)

    def kill(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def beat(self, number: int) -> Path:
        return self._directory / f"beat-{number}"

    def decided(self, number: int) -> int:
        """By its own word of the last second."""
        words: list[str] = json.loads(self.beat(number).read_text())["detail"].split()
        return int(words[words.index("decided,") - 1])

    async def calls(self, first: int, count: int) -> list[str]:
        """What became of so many calls, eight at once."""
        room = asyncio.Semaphore(8)

        async def one(number: int) -> str:
            call_id = f"ast1-1795609861-1795609900.{number}"
            async with room:
                try:
                    found = await ask(
                        self.port, header(call_id, "c-buyer", "127.0.0.10:5060", "447700900123", "12125550123")
                    )
                except (ConnectionError, TimeoutError) as error:
                    return repr(error)
            return (found or {}).get("REASON", "no answer")

        return list(await asyncio.gather(*(one(number) for number in range(first, first + count))))

    def close(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.running.values():
            process.wait(15)
        self._listener.close()


@pytest.fixture
def routers(postgres_dsn: str, tmp_path: Path) -> Iterator[Routers]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        world: Any = make_small_world(connection, balance=1_000)
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
        connection.execute(
            "INSERT INTO route_class_entries (route_class_id, peer_id) SELECT route_class_id, %s FROM route_classes",
            (world.terminator,),
        )
    found = Routers(postgres_dsn, tmp_path)
    try:
        found.start(1)
        found.start(2)
        yield found
    finally:
        found.close()


async def test_one_hangs_and_one_is_killed_and_calls_go_on(routers: Routers) -> None:
    assert set(await routers.calls(0, 100)) == {""}
    deadline = time.monotonic() + 10
    while (routers.decided(1), routers.decided(2)).count(0) and time.monotonic() < deadline:
        assert set(await routers.calls(int(time.monotonic() * 100) % 10**8 + 1_000, 50)) == {""}
        await asyncio.sleep(0.5)
    assert min(routers.decided(1), routers.decided(2)) > 0, "one of them took no call"
    # One that hangs takes none: the line of calls is common to both.
    routers.running[2].send_signal(signal.SIGSTOP)
    assert set(await routers.calls(200, 100)) == {""}
    # The one that hung goes on, and the first is killed, the builder with it.
    routers.running[2].send_signal(signal.SIGCONT)
    routers.kill(1)
    assert set(await routers.calls(300, 100)) == {""}
    routers.start(1)
    assert set(await routers.calls(400, 50)) == {""}


async def test_a_session_is_good_once_whichever_process_takes_it(routers: Routers, postgres_dsn: str) -> None:
    sent = header("ast1-1795609861-1795609900.7", "c-buyer", "127.0.0.10:5060", "447700900123", "12125550123")

    async def answers(count: int) -> list[dict[str, str]]:
        found = await asyncio.gather(*(ask(routers.port, sent) for _ in range(count)), return_exceptions=True)
        return [one for one in found if isinstance(one, dict)]

    (answer,) = await answers(40)
    assert (answer["DECISION"], answer["ROUTES"]) == ("ALLOW", "1")
    routers.kill(1)
    routers.kill(2)
    routers.beat(1).unlink()
    routers.start(1)
    assert await answers(10) == []
    routers.kill(1)
    routers.start(3, "those of another machine")
    (answer,) = await answers(10)
    assert (answer["DECISION"], answer["ROUTES"], answer["REASON"]) == ("REFUSE", "0", "ROUTER UNAVAILABLE")
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM holds").fetchone() == (1,)
