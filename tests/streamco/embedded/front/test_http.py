"""The HTTP side of the ClickHouse front on an engine that only waits: places are bounded, and always given back.

People have half of them at most, and none for as long as they like.
"""

import asyncio
import threading
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from streamco.clickhouse_access.rights import ANALYST
from streamco.embedded.front import http, turns
from streamco.embedded.front.engine import Engine
from streamco.embedded.front.http import Front
from streamco.embedded.front.jobs import Answer, Job, Pieces
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


async def ask(
    front: Front,
    gone: asyncio.Event | None = None,
    user: bytes = b"streamco",
    *,
    body: bytes | None = b"SELECT 1",
    arguments: bytes = b"",
    fetches: asyncio.Event | None = None,
) -> tuple[int, bytes]:
    """A POST of `body` (None: it never comes); status and body. The client goes away when `gone` is set, and takes
    nothing of the answer's body before `fetches` is."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/",
        "query_string": arguments,
        "headers": [(b"x-clickhouse-user", user), (b"x-clickhouse-key", b"password")],
    }
    messages: list[Message] = [] if body is None else [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if fetches is not None and message["type"] == "http.response.body":
            await fetches.wait()
        sent.append(message)

    await front.application()(scope, receive, send)
    assert all(b"\n" not in value for _, value in sent[0]["headers"])
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def until_running(engine: WaitingEngine, count: int) -> None:
    async with asyncio.timeout(10):
        while len(engine.markers) < count:  # noqa: ASYNC110 - it runs in a thread
            await asyncio.sleep(0.005)


async def test_more_queries_than_places_wait_and_are_refused_in_the_end(
    engine: WaitingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.2)
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


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is none of ours is an analyst here, whatever the password."""
    known = Logins.known
    monkeypatch.setattr(Logins, "known", lambda logins, *who: known(logins, *who) or Login(who[0], ANALYST))


@pytest.mark.usefixtures("people")
async def test_people_leave_half_of_the_places_to_our_processes(
    engine: WaitingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.3)
    front = Front(cast(Engine, engine), SETTINGS)
    first = asyncio.create_task(ask(front, user=b"ada"))
    await until_running(engine, 1)
    status, body = await ask(front, user=b"bert")
    assert (status, body[:48]) == (503, b"Code: 202. DB::Exception: 1 queries run already.")
    ours = asyncio.create_task(ask(front))
    await until_running(engine, 2)
    engine.go.set()
    assert await asyncio.gather(first, ours) == [(200, b"1\n")] * 2


@pytest.mark.usefixtures("people")
async def test_a_login_has_no_more_bodies_on_their_way_than_queries(engine: WaitingEngine) -> None:
    front = Front(cast(Engine, engine), SETTINGS)
    gone = asyncio.Event()
    arriving = [asyncio.create_task(ask(front, gone, b"ada", body=None)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert (await ask(front, user=b"ada"))[1].startswith(b"Code: 202. DB::Exception: ada: 4 queries run already.")
    gone.set()
    assert [status for status, _ in await asyncio.gather(*arriving)] == [499] * 4
    engine.go.set()
    assert await ask(front, user=b"ada") == (200, b"1\n")


@pytest.mark.usefixtures("people")
async def test_who_only_reads_sends_no_more_than_a_statement(engine: WaitingEngine) -> None:
    engine.go.set()
    front = Front(cast(Engine, engine), SETTINGS)
    assert (await ask(front, user=b"ada", body=b" " * (1 << 20)))[0] == 200
    status, body = await ask(front, user=b"ada", body=b" " * (1 << 20) + b"1")
    assert (status, body) == (
        413,
        b"Code: 307. DB::Exception: the body is larger than 1048576 bytes. (TOO_MANY_BYTES)\n",
    )
    assert (await ask(front, body=b" " * (1 << 20) + b"1"))[0] == 200  # an insert may be longer


class Streaming(WaitingEngine):
    """Answers in pieces without an end."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def run(self, job: Job) -> Answer:
        self.markers.append(job.marker)
        return Answer(Pieces(b"1\n", self, self.closed.set), "TabSeparated", {})

    def fetch(self) -> Any:
        return self

    def bytes(self) -> bytes:
        return b"1\n"

    def close(self) -> None:
        return


@pytest.mark.usefixtures("people")
async def test_an_answer_that_is_not_fetched_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ANALYST.limits is not None
    brief = replace(ANALYST, limits=replace(ANALYST.limits, answer_seconds=1, concurrent_queries=1))
    monkeypatch.setattr(Logins, "known", lambda _, name, __: Login(name, brief))
    engine = Streaming()
    front = Front(cast(Engine, engine), SETTINGS)
    fetches = asyncio.Event()
    slow = asyncio.create_task(ask(front, user=b"ada", fetches=fetches))
    await until_running(engine, 1)
    assert b"ada: 1 queries run already" in (await ask(front, user=b"ada"))[1]
    async with asyncio.timeout(10):
        while not engine.closed.is_set():  # noqa: ASYNC110 - it is closed in a thread
            await asyncio.sleep(0.05)
        gone = asyncio.Event()
        again = asyncio.create_task(ask(front, gone, b"ada"))
        await until_running(engine, 2)  # its place is free
        fetches.set()
        status, body = await slow
        gone.set()
        await again
    assert status == 200
    assert b"Code: 159. DB::Exception: the answer was not fetched within 1 s" in body


@pytest.mark.parametrize("query_id", ["a%0d%0aSet-Cookie:%20x=1", "%E2%82%AC", "%00", "a" * 129, "a%7f"])
async def test_a_query_id_is_plain_since_it_comes_back_in_a_header(engine: WaitingEngine, query_id: str) -> None:
    front = Front(cast(Engine, engine), SETTINGS)
    status, body = await ask(front, user=b"nobody", arguments=f"query_id={query_id}".encode())
    assert status == 400
    assert b"query_id " in body
    assert b"must be 1 to 128 printable ASCII characters" in body
