"""The world of the auditor's tests."""

from collections.abc import Iterator

import pytest
from audit_world import World, rated_legs

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import RatedLeg
from sinks.audit.continuous.settings import AuditorSettings


@pytest.fixture
def world(postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[World]:
    world = World(AuditorSettings(postgres=postgres, kafka=kafka, clickhouse=clickhouse, cdr_seconds=0))
    yield world
    world.auditor.close()


@pytest.fixture
def legs(world: World) -> list[RatedLeg]:
    return rated_legs(world)
