"""The topic of dead letters goes to its table: those of the node agents too, which write to Kafka alone."""

from typing import Any

import faust
import psycopg

from schemas.events import DeadLetter
from schemas.topics import DEAD_LETTERS
from sinks.letter_store import keep_letters
from streams.app import now_ms, origin_of, source
from streams.folds.reading import dead_letter, read_message
from streams.settings import StreamsSettings


def add_letters(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the agent that keeps dead letters. A repeat changes nothing: a letter's origin is its key."""

    @app.agent(source(app, DEAD_LETTERS), name="letters")
    async def keep(stream: Any) -> None:
        async with await psycopg.AsyncConnection.connect(
            settings.postgres.dsn.get_secret_value(),
            autocommit=True,
            connect_timeout=5,
            application_name="streams-letters",
        ) as connection:
            async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.batch_seconds):
                await keep_batch(stream, batch, connection)


async def keep_batch(stream: Any, batch: list[Any], connection: psycopg.AsyncConnection[Any]) -> None:
    """Messages of dead letters become rows; acknowledged when they are committed."""
    await keep_letters(connection, letters_of(batch))
    for event in batch:
        await stream.ack(event)


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
