"""The role of the CDRs: rated legs and the router's decisions go to ClickHouse, in large inserts, soon."""

import asyncio
import time
from typing import Any, Final

import faust
import psycopg
import structlog
from clickhouse_connect.driver.client import Client

from runtime.clickhouse import connect
from schemas.events import CallRouted, RatedLeg
from schemas.topics import DEAD_LETTERS, DECISIONS, RATED_LEGS
from sinks.cdrs import drop_replaced_estimates, ids_named, write_decisions, write_legs
from sinks.dimensions import Dimensions, read_dimensions
from streams.app import now_ms, origin_of, source
from streams.billing import read_rated
from streams.folds.reading import split_by_type
from streams.output import DeadLetters
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
NAMES_SECONDS: Final = 60.0  # a changed name shows after this at the latest
UNKNOWN_NAMES_SECONDS: Final = 2.0  # how often an unknown id may ask for them again
READ_NAMES_SECONDS: Final = 10.0
MAX_INSERT_LEGS: Final = 20_000  # of one insert: a backlog's batches would otherwise need gigabytes


class Names:
    """The names of the CDRs, read again from time to time, and when an id is not known."""

    def __init__(self, settings: StreamsSettings) -> None:
        self._dsn = settings.dsn
        self._names: Dimensions | None = None
        self._read_at = 0.0

    async def of(self, legs: list[RatedLeg]) -> Dimensions:
        """Names for these legs. PostgreSQL away: the names that are known; at the very first: psycopg.Error."""
        age_seconds = time.monotonic() - self._read_at
        if self._names is not None:
            known = self._names.knows(*ids_named(legs))
            if age_seconds < (NAMES_SECONDS if known else UNKNOWN_NAMES_SECONDS):
                return self._names
        try:
            async with asyncio.timeout(READ_NAMES_SECONDS):
                async with await psycopg.AsyncConnection.connect(self._dsn, connect_timeout=5) as connection:
                    self._names = await read_dimensions(connection)
        except (psycopg.OperationalError, TimeoutError) as error:
            if self._names is None:
                raise
            log.warning("names not read again: the known ones are used", error=repr(error))
        self._read_at = time.monotonic()
        return self._names


def add_cdrs(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the two agents of the CDRs on the app."""
    assert settings.clickhouse is not None  # noqa: S101 (for the type checker: cdrs has one)
    client = connect(settings.clickhouse, answer_seconds=30)
    dead_letters = DeadLetters(source(app, DEAD_LETTERS), settings)
    names = Names(settings)

    @app.agent(source(app, RATED_LEGS), name="cdrs")
    async def write_cdrs(stream: Any) -> None:
        async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.insert_seconds):
            await write_batch(stream, batch, client, names)

    @app.agent(source(app, DECISIONS), name="decisions")
    async def keep_decisions(stream: Any) -> None:
        async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.insert_seconds):
            decisions: list[CallRouted] = []
            dead = []
            for event in batch:
                read = split_by_type(event.value, origin_of(event), now_ms(), CallRouted, "a decision")
                decisions += [decision for _, decision in read.found]
                dead += read.dead
            await dead_letters.send(dead)
            await asyncio.to_thread(write_decisions, client, decisions, now_ms())
            for event in batch:
                await stream.ack(event)


def _write(client: Client, legs: list[RatedLeg], names: Dimensions) -> None:
    write_legs(client, legs, names)
    if dropped := drop_replaced_estimates(client, legs):
        log.info("estimated ends of calls gave way to the true ones", calls=dropped)


async def write_batch(stream: Any, batch: list[Any], client: Client, names: Names) -> None:
    """Messages of rated legs become CDRs; acknowledged when ClickHouse has answered each insert."""
    numbered, dead = read_rated(batch)
    legs = [leg for _, leg in numbered]
    for first in range(0, len(legs), MAX_INSERT_LEGS):
        part = legs[first : first + MAX_INSERT_LEGS]
        await asyncio.to_thread(_write, client, part, await names.of(part))
    # Billing reads the same messages and writes their dead letters: here they are only passed over.
    if dead:
        log.warning("rated legs that could not be read", messages=len(dead))
    for event in batch:
        await stream.ack(event)
