"""Look-ups against a real HTTP service of this test's own, which can be slow, wrong, or hang."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from router.server.lookups import FAILURES_TO_REST, REST_SECONDS, Lookups, read_answer
from router.snapshot.lookups import Lookup

NUMBER = "12125550123"
Handler = Callable[[web.Request], Awaitable[web.Response]]


def lookup(**changes: Any) -> Lookup:
    values: dict[str, Any] = {
        "lookup_id": 1, "name": "npac", "kind": "lrn", "url": "http://127.0.0.1:1/{number}", "answer_field": "lrn",
        "codes": (), "timeout_ms": 800, "cache_seconds": 60, "max_parallel": 4, "when_failed": "route", **changes,
    }  # fmt: skip
    return Lookup(**values)


class Service:
    """An HTTP service: answers by `reply`, counts what it was asked, waits while `gate` is clear."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.arrivals: asyncio.Queue[str] = asyncio.Queue()
        self.headers: list[str] = []
        self.reply: Callable[[str], web.Response] = lambda number: web.json_response({"lrn": "12015550000"})
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["number"])
        self.arrivals.put_nowait(request.match_info["number"])
        self.headers.append(request.headers.get("Authorization", ""))
        await self.gate.wait()
        return self.reply(request.match_info["number"])


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    application = web.Application()
    application.router.add_get("/lrn/{number}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}/lrn/{{number}}"
    yield made
    made.gate.set()
    await runner.cleanup()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def asked(service: Service) -> AsyncIterator[tuple[Lookups, Clock]]:
    clock = Clock()
    lookups = Lookups({"npac": SecretStr("s3cret")}, clock)
    yield lookups, clock
    await lookups.close()


async def test_an_answer_is_found_once_and_then_kept(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, _ = asked
    one = lookup(url=service.url)
    first, second = await lookups.ask(one, {}, NUMBER), await lookups.ask(one, {}, NUMBER)
    assert (first.outcome, first.routing_number, first.cached) == ("found", "12015550000", False)
    assert (second.outcome, second.routing_number, second.cached) == ("found", "12015550000", True)
    assert (service.asked, service.headers) == ([NUMBER], ["Bearer s3cret"])


async def test_many_calls_to_one_number_ask_once(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, _ = asked
    one = lookup(url=service.url)
    dips = await asyncio.gather(*(lookups.ask(one, {}, NUMBER) for _ in range(50)))
    assert {dip.outcome for dip in dips} == {"found"}
    assert service.asked == [NUMBER]


async def test_a_service_that_hangs_holds_its_own_calls_only(service: Service, asked: tuple[Lookups, Clock]) -> None:
    """Four questions hang; the fifth is told at once; another look-up answers meanwhile; all end in their time."""
    lookups, _ = asked
    hanging = lookup(url=service.url, timeout_ms=400)
    service.gate.clear()
    waiting = [asyncio.create_task(lookups.ask(hanging, {}, f"1212555012{n}")) for n in range(4)]
    for _ in waiting:
        await service.arrivals.get()
    assert (await lookups.ask(hanging, {}, "12125550199")).outcome == "busy"
    assert not any(task.done() for task in waiting)
    refused = lookup(name="other")  # nothing listens there
    assert (await lookups.ask(refused, {}, NUMBER)).outcome == "no answer"
    assert [dip.outcome for dip in await asyncio.gather(*waiting)] == ["no answer"] * 4


async def test_a_call_that_is_hung_up_does_not_take_the_answer_from_others(
    service: Service, asked: tuple[Lookups, Clock]
) -> None:
    lookups, _ = asked
    one = lookup(url=service.url)
    service.gate.clear()
    first, second = (asyncio.create_task(lookups.ask(one, {}, NUMBER)) for _ in range(2))
    await service.arrivals.get()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    service.gate.set()
    assert (await second).outcome == "found"


async def test_a_dead_service_rests_and_is_asked_again(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, clock = asked
    one = lookup(url=service.url)
    service.reply = lambda number: web.Response(status=500)
    for n in range(FAILURES_TO_REST):
        assert (await lookups.ask(one, {}, f"1212555{n:04}")).outcome == "bad answer"
    assert (await lookups.ask(one, {}, NUMBER)).outcome == "resting"
    assert len(service.asked) == FAILURES_TO_REST
    clock.now += REST_SECONDS
    service.reply = lambda number: web.json_response({"lrn": None})
    assert (await lookups.ask(one, {}, NUMBER)).outcome == "same"
    assert (await lookups.ask(one, {}, "12125550124")).outcome == "same"


async def test_redirects_and_floods_are_bad_answers(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, _ = asked
    one = lookup(url=service.url)
    replies = [
        web.Response(status=302, headers={"Location": service.url.replace("{number}", "1")}),
        web.Response(body=b'{"lrn": "' + b"1" * 100_000 + b'"}', content_type="application/json"),
    ]
    service.reply = lambda number: replies[int(number[-1])]
    assert [(await lookups.ask(one, {}, f"1212555010{n}")).outcome for n in range(2)] == ["bad answer"] * 2
    assert len(service.asked) == 2


async def test_an_unknown_number_is_404(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, _ = asked
    service.reply = lambda number: web.Response(status=404)
    assert (await lookups.ask(lookup(url=service.url), {}, NUMBER)).outcome == "same"


async def test_a_mobile_network_becomes_its_code(service: Service, asked: tuple[Lookups, Clock]) -> None:
    lookups, _ = asked
    one = lookup(url=service.url, kind="hlr", answer_field="network.mccmnc")
    service.reply = lambda number: web.json_response({"network": {"mccmnc": 28401 if number[-1] == "1" else "28499"}})
    networks = {"28401": "35988"}
    dips = [await lookups.ask(one, networks, f"35988123456{n}") for n in (1, 2)]
    assert [(dip.outcome, dip.routing_number) for dip in dips] == [("found", "35988"), ("unknown network", "")]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"lrn": "+12015550000"}', ("found", "12015550000")), (b'{"lrn": "12125550123"}', ("same", "")),
        (b'{"lrn": ""}', ("same", "")), (b"{}", ("same", "")), (b"[]", ("bad answer", "")),
        (b"not json", ("bad answer", "")), (b'{"lrn": "12&PJSIP"}', ("bad answer", "")),
        (b'{"lrn": true}', ("bad answer", "")), (b'{"lrn": 1.5}', ("bad answer", "")),
        (b'{"lrn": 12015550000}', ("found", "12015550000")), (b'{"lrn": "1"}', ("bad answer", "")),
    ],
)  # fmt: skip
def test_what_an_answer_says(raw: bytes, expected: tuple[str, str]) -> None:
    assert read_answer(lookup(), NUMBER, raw) == expected


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists).map(repr))
def test_no_answer_breaks_anything_or_names_what_is_no_number(raw: bytes | str) -> None:
    outcome, number = read_answer(lookup(), NUMBER, raw if isinstance(raw, bytes) else raw.encode())
    assert (outcome == "found") == bool(number)
    assert not number or (number.isascii() and number.isdigit() and 3 <= len(number) <= 15)
