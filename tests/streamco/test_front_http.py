"""The HTTP side of the ClickHouse front on an engine that only waits: places are bounded, and always given back."""

import asyncio
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from streamco.embedded.front import http
from streamco.embedded.front.engine import Engine
from streamco.embedded.front.http import Front
from streamco.embedded.front.jobs import Answer, Job
from streamco.embedded.front.logins import Login, Logins, unknown
from streamco.embedded.front.wire import EngineError
from streamco.embedded.settings import ClickHouseServer

Message = MutableMapping[str, Any]
SETTINGS = ClickHouseServer(directory=Path("/nowhere"), password=SecretStr("password"), max_queries=2)


class WaitingEngine:
    """Every query waits until `go`, or until it is killed."""

    time_zone = "UTC"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.markers: list[str] = []
        self.killed: set[str] = set()

    def run(self, job: Job) -> Answer:
        self.markers.append(job.marker)
        while not self.go.wait(0.01):
            if job.marker in self.killed:
                raise EngineError("Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)")
        return Answer(b"1\n", "TabSeparated", {})

    def kill(self, marker: str) -> None:
        self.killed.add(marker)


@pytest.fixture
def engine() -> Iterator[WaitingEngine]:
    engine = WaitingEngine()
    yield engine
    engine.go.set()


async def ask(front: Front, gone: asyncio.Event | None = None, user: bytes = b"streamco") -> tuple[int, bytes]:
    """A POST of `SELECT 1`; status and body. The client goes away when `gone` is set."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"x-clickhouse-user", user), (b"x-clickhouse-key", b"password")],
    }
    messages: list[Message] = [{"type": "http.request", "body": b"SELECT 1", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await front.application()(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def until_running(engine: WaitingEngine, count: int) -> None:
    async with asyncio.timeout(10):
        while len(engine.markers) < count:  # noqa: ASYNC110 - it runs in a thread
            await asyncio.sleep(0.005)


async def test_more_queries_than_places_wait_and_are_refused_in_the_end(
    engine: WaitingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_WAIT_SECONDS", 0.2)
    front = Front(cast(Engine, engine), SETTINGS)
    running = [asyncio.create_task(ask(front)) for _ in range(2)]
    await until_running(engine, 2)
    status, body = await ask(front)
    assert status == 503
    assert body.startswith(b"Code: 202. DB::Exception: 2 queries run already.")
    waiting = asyncio.create_task(ask(front))
    engine.go.set()
    assert await asyncio.gather(*running, waiting) == [(200, b"1\n")] * 3


async def test_a_client_that_goes_away_gives_its_place_back(engine: WaitingEngine) -> None:
    front = Front(cast(Engine, engine), SETTINGS)
    for turn in range(5):
        gone = asyncio.Event()
        leaving = asyncio.create_task(ask(front, gone))
        await until_running(engine, turn + 1)
        gone.set()
        assert (await leaving)[0] == 499
        assert engine.killed == set(engine.markers)
    engine.go.set()
    assert await asyncio.gather(*(ask(front) for _ in range(4))) == [(200, b"1\n")] * 4


async def test_guessers_take_no_thread_of_a_query_and_wait_for_each_other(
    engine: WaitingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = threading.Semaphore(1)
    over = threading.Event()

    def verify(_: Logins, name: str, __: str) -> Login:
        assert hashing.acquire(blocking=False)
        over.wait(10)
        hashing.release()
        raise unknown(name)

    monkeypatch.setattr(Logins, "verify", verify)
    monkeypatch.setattr(http, "_HASHING_WAIT_SECONDS", 0.5)
    front = Front(cast(Engine, engine), SETTINGS)
    guesses = [asyncio.create_task(ask(front, user=f"guess{number}".encode())) for number in range(100)]
    engine.go.set()
    async with asyncio.timeout(10):
        assert await ask(front) == (200, b"1\n")
        await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        over.set()
        said = [body for _, body in await asyncio.gather(*guesses)]
    busy = sum(b"too many logins at once" in body for body in said)
    assert busy > 0
    assert busy + sum(b"AUTHENTICATION_FAILED" in body for body in said) == 100
