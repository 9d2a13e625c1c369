"""A line whose processes a test kills, and an Asterisk of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_line import FaultLine
from real_line import Line

from configuration.asterisk.fetch import FetchError, installation
from runtime.connections import ClickHouse, Kafka, Postgres


@pytest.fixture
def asterisk(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A node of this test's own. A machine that cannot have Asterisk: skipped, or failed with CI=true."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamco"
    try:
        programs = installation(cache)
    except FetchError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    line = Line(postgres_dsn, tmp_path_factory.mktemp("k"), programs, cache)
    try:
        line.start()
        yield line
    finally:
        line.close()


@pytest.fixture
def line(tmp_path: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse) -> Iterator[FaultLine]:
    made = FaultLine(tmp_path, postgres, kafka, clickhouse)
    yield made
    made.close()
