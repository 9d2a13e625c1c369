"""The billing role: closed legs are rated, rated legs are posted to the ledger. Every leg, once, or a dead letter."""

from typing import Any, Final

import faust
import psycopg
import structlog

from schemas.events import DeadLetter, RatedLeg
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS
from sinks.ledger import Ledger
from streams.app import now_ms, origin_of, source
from streams.folds.rating import rate_message
from streams.folds.reading import Numbered, dead_letter, split_by_type
from streams.letters import add_letters
from streams.output import DeadLetters, rated_messages, send_all
from streams.settings import StreamsSettings

log = structlog.get_logger(__name__)
MAX_POST_LEGS: Final = 10_000  # of one transaction: a backlog's batches have many times that
# A worker that is stopped in a transaction holds the locks of its accounts: the server ends it, and others go on.
_BOUNDS: Final = "-c idle_in_transaction_session_timeout=5000 -c statement_timeout=60000"


def add_billing(app: faust.App, settings: StreamsSettings) -> None:
    """Declare the agents of billing on the app, and the one that keeps everybody's dead letters."""
    add_letters(app, settings)
    calls, rated_legs = source(app, CALLS), source(app, RATED_LEGS)
    dead_letters = DeadLetters(source(app, DEAD_LETTERS), settings)

    @app.agent(calls, name="rate")
    async def rate_legs(stream: Any) -> None:
        async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.batch_seconds):
            await rate_batch(stream, batch, rated_legs, dead_letters, settings)

    @app.agent(rated_legs, name="post")
    async def post_legs(stream: Any) -> None:
        async with await psycopg.AsyncConnection.connect(
            settings.dsn,
            autocommit=True,
            connect_timeout=5,
            application_name="streams-billing",
            options=_BOUNDS,
        ) as connection:
            ledger = Ledger(connection)
            async for batch in stream.noack().noack_take(settings.batch_messages, within=settings.batch_seconds):
                await post_batch(stream, batch, ledger, dead_letters)


async def rate_batch(
    stream: Any, batch: list[Any], rated_legs: Any, dead_letters: DeadLetters, settings: StreamsSettings
) -> None:
    """Messages of `calls` become messages of rated legs; acknowledged when the broker has all that came of them."""
    legs, dead = [], []
    for event in batch:
        rated = rate_message(event.value, origin_of(event), now_ms())
        legs += rated.legs
        dead += rated.dead
    await dead_letters.send(dead)
    await send_all(rated_legs, rated_messages(legs, settings.kafka.partitions), settings.send_seconds)
    for event in batch:
        await stream.ack(event)


async def post_batch(stream: Any, batch: list[Any], ledger: Ledger, dead_letters: DeadLetters) -> None:
    """Messages of rated legs are posted; acknowledged when they are committed, and what was refused is kept."""
    numbered, dead = read_rated(batch)
    for first in range(0, len(numbered), MAX_POST_LEGS):
        dead += await post(ledger, numbered[first : first + MAX_POST_LEGS])
    await dead_letters.send(dead)
    for event in batch:
        await stream.ack(event)


async def post(ledger: Ledger, numbered: list[tuple[Numbered, RatedLeg]]) -> list[DeadLetter]:
    """Post legs in one transaction; a dead letter for each that the ledger refuses. Raises psycopg.Error."""
    offsets: dict[tuple[str, int], int] = {}
    for place, leg in numbered:
        offsets.setdefault((leg.leg_id, leg.revision), place.message.offset)
    posted = await ledger.post([leg for _, leg in numbered], offsets)
    if posted.repeated:
        log.info("legs that were posted before: nothing changed", legs=posted.repeated)
    places = {id(leg): place for place, leg in numbered}
    dead = []
    for leg, reason in posted.rejected:
        place = places[id(leg)]
        dead.append(dead_letter(place.origin, place.raw, reason, now_ms(), leg.leg_id))
    return dead


def read_rated(batch: list[Any]) -> tuple[list[tuple[Numbered, RatedLeg]], list[DeadLetter]]:
    """The rated legs of a batch of messages with their places, and dead letters for what is none."""
    legs: list[tuple[Numbered, RatedLeg]] = []
    dead: list[DeadLetter] = []
    for event in batch:
        read = split_by_type(event.value, origin_of(event), now_ms(), RatedLeg, "a rated leg")
        legs += read.found
        dead += read.dead
    return legs, dead
