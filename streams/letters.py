"""The topic of dead letters goes to its table: those of the node agents too, which write to Kafka alone."""

import asyncio
from typing import Any, Final

import faust
import psycopg
import structlog

from schemas.events import DeadLetter
from schemas.topics import DEAD_LETTERS
from sinks.letter_store import count_open, keep_letters
from sinks.metrics import Bounded
from streams.app import now_ms, origin_of, source
from streams.folds.reading import dead_letter, read_message
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
COUNT_SECONDS: Final = 10.0
_OPEN: Final = Bounded("dead_letters_open", "Dead letters that nobody has decided about; at the bound workers stop.")


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
        except (psycopg.Error, TimeoutError) as error:
            log.warning("open dead letters not counted", error=repr(error))

    @app.agent(source(app, DEAD_LETTERS), name="letters")
    async def keep(stream: Any) -> None:
        async with await _connect(settings) as connection:
            async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.batch_seconds):
                await keep_batch(stream, batch, connection)


async def keep_batch(stream: Any, batch: list[Any], connection: psycopg.AsyncConnection[Any]) -> None:
    """Messages of dead letters become rows; acknowledged when they are committed."""
    await keep_letters(connection, letters_of(batch))
    for event in batch:
        await stream.ack(event)


async def _connect(settings: StreamsSettings) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        settings.postgres.dsn.get_secret_value(),
        autocommit=True,
        connect_timeout=5,
        application_name="streams-letters",
        options="-c statement_timeout=60000",
    )


def letters_of(batch: list[Any]) -> list[DeadLetter]:
    """The letters of a batch of messages. What is no letter is kept as one: here is nowhere else to send it."""
    letters = []
    for event in batch:
        read = read_message(event.value, origin_of(event), now_ms())
        letters += read.dead
        for place in read.good:
            if isinstance(place.event, DeadLetter):
                letters.append(place.event)
            else:
                reason = f"{type(place.event).__name__}: not a dead letter"
                letters.append(dead_letter(place.origin, place.raw, reason, now_ms()))
    return letters
