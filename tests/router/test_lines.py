"""Many questions over few connections of a real PostgreSQL: each gets its own answer, whatever breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from router.lines import Lines

pytestmark = pytest.mark.servers
MOST_SECONDS = 1.0
STATEMENT = "SELECT $1::text, pg_backend_pid()::text, nullif($2::float8, 0)::text FROM pg_sleep($2::float8)"
MakeLines = Callable[..., AbstractAsyncContextManager[Lines]]


@pytest.fixture
def make_lines(postgres_dsn: str) -> MakeLines:
    @asynccontextmanager
    async def make(count: int = 2, most_waiting: int = 1_000, statement: str = STATEMENT) -> AsyncIterator[Lines]:
        pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            postgres_dsn, min_size=count, max_size=count, open=False, timeout=MOST_SECONDS,
            kwargs={"autocommit": True},
        )  # fmt: skip
        await pool.open(wait=False)
        lines = Lines(pool, statement, count, most_waiting)
        lines.start(MOST_SECONDS)
        try:
            yield lines
        finally:
            await lines.stop()
            await pool.close()

    return make


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
        pids: set[str] = set()
        while len(pids) < 2:  # until the other is back
            pids = {str(answer[1]) for answer in await asyncio.gather(*(ask(lines, "both", 0.05) for _ in range(8)))}
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
