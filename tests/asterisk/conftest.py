"""The calls of tests/tools/real_calls.py, placed once a session through the one real Asterisk (tests/conftest.py)."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from real_calls import Seen, place_with_a_dead_router
from real_line import Line


@pytest.fixture(scope="session")
def dead_router_calls(real_line: Line, real_calls: dict[str, Seen]) -> dict[str, Seen]:
    """What became of calls when the router was killed. After all the others: it is their router too."""
    assert real_calls
    return place_with_a_dead_router(real_line)


@pytest.fixture(scope="session")
def own_line(
    real_line: Line, postgres_server: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    """A second line with a world and a node of its own, for tests that change the one and end the other."""
    database = f"streamco_test_{os.getpid()}_own"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{postgres_template}"'.encode())
    dsn = urlsplit(postgres_server)._replace(path=f"/{database}").geturl()
    line = Line(dsn, tmp_path_factory.mktemp("o"), real_line.programs, real_line.cache)
    try:
        line.start()
        yield line
    finally:
        line.close()
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)'.encode())
