"""The workers' roles: the product's own agents' bodies, each with what it writes to."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg
from kafka.errors import KafkaError
from pydantic import SecretStr

from runtime.connections import Kafka, Postgres
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS
from sinks.dead_letters.store import renew_stops
from sinks.dimensions import Dimensions
from sinks.ledger import Ledger
from streams import billing, cdrs, letters, live
from streams.output import DeadLetters, limits_of
from streams.settings import StreamsSettings
from tests.simulation.broker import PARTITIONS
from tests.simulation.clickhouse import ClickHouse
from tests.simulation.database import Database
from tests.simulation.workers import SEND_MS, Body, Topic, Worker

MAX_PEER_LETTERS: Final = 4
TAKE_MS: Final = 10_000


class Names:
    """In the place of streams.cdrs.Names: nobody has a name here."""

    async def of(self, _legs: Any) -> Dimensions:
        """No names."""
        return Dimensions()


def settings(partitions: int = PARTITIONS) -> StreamsSettings:
    """Of all workers."""
    return StreamsSettings.model_construct(
        kafka=Kafka(bootstrap="none:1", partitions=partitions), postgres=Postgres(dsn=SecretStr("simulated")),
        max_dead_letters=1_000, max_peer_letters=MAX_PEER_LETTERS, send_seconds=SEND_MS / 1000,
    )  # fmt: skip


class Billing(Worker):
    """streams/billing.py and streams/letters.py."""

    database: Database

    def agents(self) -> dict[str, Callable[[], Awaitable[Body]]]:
        """Rate, post, and keep dead letters."""
        dead_letters = DeadLetters(Topic(self, DEAD_LETTERS.name), settings())
        rated_legs = Topic(self, RATED_LEGS.name)

        async def rate() -> Body:
            return lambda stream, batch: billing.rate_batch(stream, batch, rated_legs, dead_letters, settings())

        async def post() -> Body:
            ledger = Ledger(await self.database.connect(autocommit=True))  # type: ignore[arg-type]
            return lambda stream, batch: billing.post_batch(stream, batch, ledger, dead_letters)

        async def keep() -> Body:
            connection: Any = await self.database.connect(autocommit=True)
            return lambda stream, batch: letters.keep_batch(stream, batch, connection, limits_of(settings()))

        self.later(TAKE_MS, self._take_often)
        return {CALLS.name: rate, RATED_LEGS.name: post, DEAD_LETTERS.name: keep}

    def _take_often(self) -> None:
        """The timers of streams/letters.py."""
        self.later(TAKE_MS, self._take_often)
        self.spawn(self._take_waiting())

    async def _take_waiting(self) -> None:
        try:
            connection: Any = await self.database.connect(autocommit=True)
            await renew_stops(connection, MAX_PEER_LETTERS)
            while await letters.take_some(connection, settings()):
                pass
        except (psycopg.Error, KafkaError):
            self.host.note("letters that wait are not taken", self.name)


class Cdrs(Worker):
    """streams/cdrs.py."""

    within_ms = 800
    clickhouse: ClickHouse

    def agents(self) -> dict[str, Callable[[], Awaitable[Body]]]:
        """Write CDRs."""
        client: Any = self.clickhouse
        names: Any = Names()

        async def write() -> Body:
            return lambda stream, batch: cdrs.write_batch(stream, batch, client, names)

        return {RATED_LEGS.name: write}


class Live(Worker):
    """streams/live.py: its table's changelog outlives it."""

    changelog: dict[bytes, bytes]

    def agents(self) -> dict[str, Callable[[], Awaitable[Body]]]:
        """Follow calls."""
        sweeper = live.Sweeper(PARTITIONS)

        async def follow() -> Body:
            async def each(stream: Any, batch: list[Any]) -> None:
                for event in batch:
                    live.follow_message(event, self.changelog, sweeper)
                    await stream.ack(event)

            return each

        return {CALLS.name: follow}
