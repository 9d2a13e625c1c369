"""The topic of dead letters goes to its table: those of the node agents too, which write to Kafka alone."""

import asyncio
from typing import Any, Final

import faust
import psycopg
import structlog
from kafka.errors import KafkaError

from runtime.metrics import Bounded
from schemas.events import DeadLetter
from schemas.topics import DEAD_LETTERS
from sinks.dead_letters.store import Limits, count_open, keep_letters_within, renew_stops
from sinks.dead_letters.waiting import Placed, next_waiting, note_waiting, read_waiting, take_waiting
from streams.app import now_ms, origin_of, source
from streams.folds.reading import split_by_type
from streams.output import limits_of
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
COUNT_SECONDS: Final = 10.0
_OPEN: Final = Bounded(
    "dead_letters_open", "Dead letters of no peer that nobody has decided about; at the bound workers stop."
)


def add_letters(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the agent that keeps dead letters. A repeat changes nothing: a letter's origin is its key."""

    found = 0
    _OPEN.watch(settings.max_dead_letters, lambda: found)

    @app.timer(COUNT_SECONDS)  # type: ignore[untyped-decorator]
    async def count() -> None:
        nonlocal found
        try:
            async with asyncio.timeout(COUNT_SECONDS / 2), await _connect(settings) as connection:
                found = await count_open(connection)
                await renew_stops(connection, settings.max_peer_letters)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("open dead letters not counted", error=repr(error))

    @app.timer(COUNT_SECONDS)  # type: ignore[untyped-decorator]
    async def take() -> None:
        try:
            async with asyncio.timeout(3 * COUNT_SECONDS), await _connect(settings) as connection:
                while await take_some(connection, settings):
                    log.info("dead letters that waited for room are in the table")
        except (psycopg.Error, KafkaError, TimeoutError) as error:
            log.warning("dead letters that wait for room not taken", error=repr(error))

    @app.agent(source(app, DEAD_LETTERS), name="letters")
    async def keep(stream: Any) -> None:
        async with await _connect(settings) as connection:
            async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.batch_seconds):
                await keep_batch(stream, batch, connection, limits_of(settings))


async def keep_batch(stream: Any, batch: list[Any], connection: psycopg.AsyncConnection[Any], limits: Limits) -> None:
    """Messages of dead letters become rows, or are noted as waiting for room; acknowledged when that is committed.

    What belongs to nobody is kept however many there are: it is in its topic already, and nobody could be stopped.
    """
    placed = letters_of(batch)
    async with connection.transaction():
        kept = await keep_letters_within(connection, [one.letter for one in placed], limits, stop=False)
        waiting = {letter.origin for letter in kept.waiting}
        await note_waiting(connection, [one for one in placed if one.letter.origin in waiting])
    for event in batch:
        await stream.ack(event)


async def _connect(settings: StreamsSettings) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        settings.dsn,
        autocommit=True,
        connect_timeout=5,
        application_name="streams-letters",
        options="-c statement_timeout=60000",
    )


async def take_some(connection: psycopg.AsyncConnection[Any], settings: StreamsSettings) -> bool:
    """Letters that wait come to the table, where their peer has room again; whether any did."""
    waiting = await next_waiting(connection, settings.max_peer_letters)
    if waiting is None:
        return False
    placed, behind = await asyncio.to_thread(read_waiting, settings.kafka, waiting)
    return await take_waiting(connection, waiting, placed, behind, limits_of(settings)) > 0


def letters_of(batch: list[Any]) -> list[Placed]:
    """The letters of a batch of messages. What is no letter is kept as one: here is nowhere else to send it."""
    letters = []
    for event in batch:
        read = split_by_type(event.value, origin_of(event), now_ms(), DeadLetter, "a dead letter")
        found = [*read.dead, *(letter for _, letter in read.found)]
        letters += [Placed(letter, event.message.partition, event.message.offset) for letter in found]
    return letters
