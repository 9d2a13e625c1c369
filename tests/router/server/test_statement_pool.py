"""Many questions over few connections of a real PostgreSQL: each gets its own answer, whatever breaks."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolTimeout
from tcp_proxy import TcpProxy

from router.server.statement_pool import Connect, Lines

pytestmark = pytest.mark.servers
MOST_SECONDS = 1.0
STATEMENT = "SELECT $1::text, pg_backend_pid()::text, nullif($2::float8, 0)::text FROM pg_sleep($2::float8)"
MakeLines = Callable[..., AbstractAsyncContextManager[Lines]]


@pytest.fixture
def make_lines(postgres_dsn: str) -> MakeLines:
    @asynccontextmanager
    async def make(
        count: int = 2,
        most_waiting: int = 1_000,
        statement: str = STATEMENT,
        connect: Connect | None = None,
        most_seconds: float = MOST_SECONDS,
        set_up_seconds: float = 10.0,
    ) -> AsyncIterator[Lines]:
        lines = Lines(connect or to(postgres_dsn), statement, count, most_waiting, set_up_seconds)
        lines.start(most_seconds)
        try:
            yield lines
        finally:
            await lines.stop()

    return make


def to(dsn: str) -> Connect:
    return partial(psycopg.AsyncConnection.connect, dsn, autocommit=True)


async def both(lines: Lines, seconds: float = 20.0) -> set[str]:
    """The process ids of both lines, as soon as both answer."""
    async with asyncio.timeout(seconds):
        while True:
            answers = await asyncio.gather(*(ask(lines, "both", 0.05) for _ in range(8)), return_exceptions=True)
            pids = {str(answer[1]) for answer in answers if not isinstance(answer, BaseException)}
            if len(pids) == 2:
                return pids


async def ask(lines: Lines, text: str, sleep: float = 0.0, seconds: float = 20.0) -> tuple[str | None, ...]:
    return await lines.ask([text, str(sleep)], seconds)


async def test_each_gets_its_own_answer(make_lines: MakeLines) -> None:
    async with make_lines(count=3) as lines:
        answers = await asyncio.gather(*(ask(lines, f"täxt {number}", number % 3 / 1000) for number in range(500)))
    assert [answer[0] for answer in answers] == [f"täxt {number}" for number in range(500)]
    assert {answer[2] for answer in answers} == {None, "0.001", "0.002"}
    assert 1 < len({answer[1] for answer in answers}) <= 3


async def test_nobody_gets_the_answer_of_who_waited_no_longer(make_lines: MakeLines) -> None:
    async with make_lines(count=1) as lines:
        await ask(lines, "ready")
        late = [asyncio.create_task(ask(lines, f"late {number}", 0.3, 0.1)) for number in range(3)]
        found = await asyncio.gather(*late, return_exceptions=True)
        assert all(isinstance(one, TimeoutError) for one in found)
        assert (await ask(lines, "next"))[0] == "next"
        assert lines.waiting == 0


async def test_what_postgres_refuses_is_raised_and_the_line_goes_on(make_lines: MakeLines) -> None:
    async with make_lines(count=1, statement="SELECT (10 / $1::int)::text") as lines:
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            await lines.ask(["0"], 20)
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await lines.ask(["many"], 20)
        assert await lines.ask(["5"], 20) == ("2",)


async def test_a_statement_that_cannot_be_prepared_answers_nobody(make_lines: MakeLines) -> None:
    async with make_lines(count=1, statement="SELECT no_such_function($1::int)") as lines:
        with pytest.raises(TimeoutError):
            await lines.ask(["1"], 0.5)


async def test_no_more_wait_than_may(make_lines: MakeLines) -> None:
    async with make_lines(count=1, most_waiting=2) as lines:
        await ask(lines, "ready")
        tasks = [asyncio.create_task(ask(lines, str(number), 0.2)) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(PoolTimeout, match="2 calls wait"):
            await ask(lines, "one too many")
        assert [answer[0] for answer in await asyncio.gather(*tasks)] == ["0", "1", "2"]


async def test_a_connection_that_ends_costs_its_own_question_at_most(make_lines: MakeLines, postgres_dsn: str) -> None:
    async with (
        make_lines(count=2) as lines,
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as other,
    ):

        async def end(pid: str | None) -> None:
            await other.execute("SELECT pg_terminate_backend(%s::int)", (pid,))

        idle = await ask(lines, "idle")
        await end(idle[1])
        await asyncio.sleep(0.3)  # its end is noticed while nobody asks
        for number in range(10):
            assert (await ask(lines, str(number)))[1] != idle[1]
        pids = await both(lines)
        busy = [asyncio.create_task(ask(lines, "busy", 0.5)) for _ in range(2)]
        await asyncio.sleep(0.1)
        for pid in pids:
            await end(pid)
        found = await asyncio.gather(*busy, return_exceptions=True)
        assert all(isinstance(one, psycopg.OperationalError) for one in found)
        assert (await ask(lines, "again"))[0] == "again"


async def test_a_server_that_does_not_answer_is_given_up(make_lines: MakeLines) -> None:
    async with make_lines(count=1) as lines:
        first = await ask(lines, "ready")
        with pytest.raises(psycopg.OperationalError, match="given up"):
            await ask(lines, "hangs", 30.0)
        second = await ask(lines, "next")
        assert second[1] != first[1]


async def test_one_waits_for_the_first_line_no_longer_than_may(make_lines: MakeLines) -> None:
    async with make_lines(count=1) as lines:
        await lines.ready(20.0)
        assert (await ask(lines, "at once", seconds=5.0))[0] == "at once"
    async with make_lines(count=1, statement="SELECT no_such_function($1::int)") as lines:
        await lines.ready(0.1)


async def test_a_server_that_takes_connections_and_says_nothing_costs_their_set_up_alone(
    make_lines: MakeLines, postgres_dsn: str
) -> None:
    """A pool's connect would wait 130 s for it."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        mute = make_conninfo(postgres_dsn, host="127.0.0.1", port=str(silent.getsockname()[1]))
        tries = 0

        async def connect() -> psycopg.AsyncConnection[Any]:
            nonlocal tries
            tries += 1
            return await to(mute if tries <= 4 else postgres_dsn)()

        async with make_lines(connect=connect, set_up_seconds=1.0) as lines:
            assert len(await both(lines)) == 2
        assert tries >= 6


async def test_the_pause_between_attempts_does_not_grow(make_lines: MakeLines, postgres_dsn: str) -> None:
    """A pool's doubles: after twenty refusals it would be minutes. And what nobody expects ends no line for good."""
    errors = [psycopg.OperationalError("too many clients"), OSError("no"), ValueError("?"), RuntimeError("!")] * 5

    async def connect() -> psycopg.AsyncConnection[Any]:
        if errors:
            raise errors.pop()
        return await to(postgres_dsn)()

    async with make_lines(connect=connect) as lines:
        assert len(await both(lines)) == 2
    assert not errors


async def test_a_set_up_that_takes_longer_than_a_question_may_is_not_begun_again(
    make_lines: MakeLines, postgres_dsn: str
) -> None:
    """On a machine so busy it would be begun again for ever, and the line would never be back."""
    told = conninfo_to_dict(postgres_dsn)
    with TcpProxy((str(told["host"]), int(str(told["port"])))) as proxy:
        slow = make_conninfo(postgres_dsn, host=proxy.address[0], port=str(proxy.address[1]))
        proxy.delay("down", 0.4)
        async with make_lines(count=1, connect=to(slow), most_seconds=0.2) as lines:
            await lines.ready(10.0)
            proxy.delay("down", 0.0)
            assert lines._first.is_set()
            assert (await ask(lines, "there", seconds=5.0))[0] == "there"


async def test_an_answer_that_is_no_text_costs_its_own_question(make_lines: MakeLines, postgres_dsn: str) -> None:
    latin = make_conninfo(postgres_dsn, options="-c client_encoding=latin1")
    async with make_lines(count=1, connect=to(latin), statement="SELECT repeat(chr($1::int), 1)") as lines:
        with pytest.raises(psycopg.DataError, match="not UTF-8"):
            await lines.ask(["228"], 5.0)
        assert await lines.ask(["65"], 5.0) == ("A",)


async def test_whatever_is_cancelled_and_killed_both_lines_come_back(make_lines: MakeLines, postgres_dsn: str) -> None:
    chance = random.Random(7)
    async with (
        make_lines(count=2) as lines,
        await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as other,
    ):
        for _ in range(8):
            asked = [
                asyncio.create_task(ask(lines, str(number), chance.choice([0.0, 0.02]), chance.choice([0.01, 5.0])))
                for number in range(20)
            ]
            for task in chance.sample(asked, 8):
                await asyncio.sleep(0)
                task.cancel()
            for pid in chance.sample(sorted(await both(lines)), chance.randint(0, 2)):
                await other.execute("SELECT pg_terminate_backend(%s::int)", (pid,))
            for number, found in enumerate(await asyncio.gather(*asked, return_exceptions=True)):
                assert isinstance(found, BaseException) or found[0] == str(number)
        assert len(await both(lines)) == 2
        assert lines.waiting == 0
