"""Look-ups on a router's process: the answer moves the call, and a service that hangs holds nobody else's calls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web
from running_router import Running
from small_world import make_small_world

from schemas.facts import decode_facts

pytestmark = pytest.mark.servers
DIPS, DOES_NOT = "127.0.0.10:5060", "127.0.0.11:5060"


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


class Service:
    """A look-up service: it answers by `reply`, or not at all while `hangs`."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.reply: Callable[[str], Any] = lambda number: {"lrn": "12015550000"}
        self.hangs = False
        self._until = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        self.asked.put_nowait(number)
        if self.hangs:
            await self._until.wait()
        return web.json_response(self.reply(number))

    def end(self) -> None:
        self._until.set()


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, str]]:
    made = Service()
    application = web.Application()
    application.router.add_get("/{number}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/{{number}}"
    made.end()
    await runner.cleanup()


@pytest.fixture
async def router(
    postgres_dsn: str, connection: psycopg.Connection[Any], service: tuple[Service, str], tmp_path: Path
) -> AsyncIterator[Running]:
    world = make_small_world(connection, balance=Decimal(100))
    for code, price in (("1", "0.01"), ("1201", "0.02")):
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, %s, %s FROM decks", (code, price))
    connection.execute(
        "INSERT INTO route_class_entries (route_class_id, peer_id) SELECT route_class_id, %s FROM route_classes",
        (world.terminator,),
    )
    connection.execute(
        "INSERT INTO lookups (name, kind, url, answer_field, timeout_ms) VALUES ('NPAC', 'lrn', %s, 'lrn', 800)",
        (service[1],),
    )
    connection.execute(
        "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id)"
        " SELECT company_id, 'other', role, 'c-other', '127.0.0.11', account_id, pack_id, deck_id, route_class_id"
        " FROM peers WHERE name = 'buyer'"
    )
    connection.execute(
        "UPDATE peers SET lookup_id = (SELECT lookup_id FROM lookups), rate_by = 'routing' WHERE name = 'buyer'"
    )
    running = Running(postgres_dsn, tmp_path)
    try:
        await running.until_ready()
        yield running
    finally:
        running.end()


async def test_the_answer_is_what_vendors_codes_are_matched_on(router: Running) -> None:
    answer = await router.call(1, "12125550123", DIPS)
    assert answer is not None
    assert answer["DECISION"] == "ALLOW"
    assert [decode_facts(answer[name]).code for name in ("CALL_FACTS", "ROUTE_1_FACTS")] == ["1201", "1201"]
    assert answer["ROUTE_1_DIAL"] == "PJSIP/12125550123@v-seller"


async def test_a_vendor_that_wants_it_is_told_the_routing_number(
    router: Running, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("UPDATE peers SET send_routing_number = true, tech_prefix = '99' WHERE name = 'seller'")
    for number in range(200):
        answer = await router.call(number, "12125550123", DIPS)
        if answer is not None and answer.get("ROUTE_1_DIAL") == "PJSIP/9912125550123;npdi;rn=+12015550000@v-seller":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(answer)


async def test_a_service_that_hangs_holds_its_own_callers_only(router: Running, service: tuple[Service, str]) -> None:
    """Twenty calls wait for an answer that never comes; meanwhile twenty others are answered, before any of them."""
    service[0].hangs = True
    ended: list[str] = []

    async def call(number: int, who: str, callee: str) -> dict[str, str] | None:
        answer = await router.call(number, callee, who)
        ended.append(who)
        return answer

    waiting = [asyncio.create_task(call(n, DIPS, f"1212555{n:04}")) for n in range(20)]
    for _ in waiting:
        await service[0].asked.get()
    others = [await call(1_000 + n, DOES_NOT, "12125550123") for n in range(20)]
    assert {answer["DECISION"] for answer in others if answer} == {"ALLOW"}
    assert len(others) == len([answer for answer in others if answer])
    answers = await asyncio.gather(*waiting)
    assert {answer["DECISION"] for answer in answers if answer} == {
        "ALLOW"
    }  # by the number itself, when its time is over
    assert {decode_facts(answer["ROUTE_1_FACTS"]).code for answer in answers if answer} == {"1"}
    assert ended[:20] == [DOES_NOT] * 20
