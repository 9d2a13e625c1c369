"""Servers of the fault tests' own, since they are killed; one set for all tests of this directory."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ended_early import ended_early
from fault_line import ServersLine
from fault_servers import FaultServers

from streamco.embedded.temporary import TemporaryServers


@pytest.fixture(scope="session")
def fault_servers() -> Iterator[FaultServers]:
    """PostgreSQL, Kafka and ClickHouse that a test may kill."""
    with ended_early("fault_servers", TemporaryServers()) as servers:
        yield FaultServers(servers)


@pytest.fixture
def line(tmp_path: Path, fault_servers: FaultServers) -> Iterator[ServersLine]:
    """Everything empty and up; every worker ended afterwards."""
    made = ServersLine(tmp_path, fault_servers)
    yield made
    made.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random choices of a test. The seed is printed, and shown when it fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"{request.node.name}: seed {seed}")
    return random.Random(seed)
