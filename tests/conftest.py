"""The servers that tests run on: real ones, started when the first test asks, on free ports, ended at the end.

    postgres_dsn     URL of a fresh database with every migration applied (a copy of a template: about 50 ms)
    postgres         the same as runtime.connections.Postgres
    kafka            a broker on which every topic was deleted and made again: nothing of another test is in them; the
                     test is its owner, and gives what it tests another login (streamco/embedded/temporary_users.py)
    clickhouse       a fresh database with every migration applied, reached over HTTP
    postgres_server, kafka_server, clickhouse_server   the servers themselves, one of each a session
    whole            does this run have --whole: every test in its longest form, and those marked `long` too
    real_line        Asterisk, SIPp's vendors and the router, one a session; real_calls: what was called on it

With STREAMCO_TEST_POSTGRES_DSN, _KAFKA_BOOTSTRAP or _CLICKHOUSE_URL (with _CLICKHOUSE_USER, _PASSWORD) tests use that
server instead. They make and drop databases, and all topics, on it: never give them a server that holds anything.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from configured_worlds import small_dsn, world_dsn, world_yaml  # noqa: F401 - fixtures
from ended_early import ended_early
from hypothesis import HealthCheck, settings
from kafka.admin import KafkaAdminClient
from ports import split_free_ports
from pydantic import SecretStr
from real_calls import Seen, place
from real_line import AnyLine, Line, MakeLine

from configuration.asterisk.fetch import FetchError, installation
from runtime.clickhouse import connect as connect_clickhouse
from runtime.connections import ClickHouse, Kafka, Postgres
from runtime.migrations import migrate_clickhouse, migrate_postgres
from runtime.topics import make_topics
from streamco.embedded.clickhouse import clickhouse_server as make_clickhouse
from streamco.embedded.kafka import kafka_server as make_kafka
from streamco.embedded.postgres import postgres_server as make_postgres
from streamco.embedded.settings import ClickHouseServer, KafkaServer, PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import make_users

pytest_plugins = ["time_budget", "early_ends"]
_numbers = itertools.count(1)
split_free_ports()

# How fast this machine is just now is no property of the code: bench/ is where time is measured. Under CI=true
# Hypothesis has such a profile of its own.
if os.environ.get("CI") != "true":
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--whole."""
    parser.addoption("--whole", action="store_true", help="every test in its longest form, and those marked `long`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --whole, what is long by nature is left out."""
    if not config.getoption("whole") and (left := [item for item in items if item.get_closest_marker("long")]):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration a test that could not run is a failure: what is skipped there is not proved."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI=true: {len(skipped)} skipped tests are a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def whole(pytestconfig: pytest.Config) -> bool:
    """More kills, longer outages, more histories: `make test-all`, `make faults`. `make test` has a few of each."""
    return bool(pytestconfig.getoption("whole"))


@pytest.fixture(scope="session")
def temporary_servers() -> Iterator[TemporaryServers]:
    """What starts servers for this session, and ends them."""
    with TemporaryServers() as servers:
        yield servers


def _database_url(server: str, database: str) -> str:
    return urlsplit(server)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> str:
    """The URL of a PostgreSQL server (database `postgres`), whose user may make databases."""
    if external := os.environ.get("STREAMCO_TEST_POSTGRES_DSN"):
        return external
    servers: TemporaryServers = request.getfixturevalue("temporary_servers")
    settings = PostgresServer(
        directory=servers.directory / "postgres", port=free_port(), password=SecretStr(password())
    )
    servers.start(make_postgres(settings))
    url = _database_url(settings.connection.dsn.get_secret_value(), "postgres")
    # What it loses with the machine's power nobody asks for. (The server of the fault tests is as the product has it.)
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        _administer(url, statement)
    return url


def _administer(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())


def _copy_database(server: str, name: str, template: str) -> None:
    """By files: without fsync a fifteenth of the time that it takes through the write-ahead log."""
    _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from."""
    name = f"streamco_test_{os.getpid()}_template"
    _administer(postgres_server, f'CREATE DATABASE "{name}"')
    migrate_postgres(Postgres(dsn=SecretStr(_database_url(postgres_server, name))))
    yield name
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_dsn(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The URL of a fresh, migrated database of this test's own."""
    name = f"streamco_test_{os.getpid()}_{next(_numbers)}"
    _copy_database(postgres_server, name, postgres_template)
    yield _database_url(postgres_server, name)
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres(postgres_dsn: str) -> Postgres:
    """`postgres_dsn` as settings have it."""
    return Postgres(dsn=SecretStr(postgres_dsn))


@pytest.fixture(scope="session")
def kafka_server(request: pytest.FixtureRequest) -> Kafka:
    """How a broker is reached by its owner. No topic has been made; the users have."""
    if external := os.environ.get("STREAMCO_TEST_KAFKA_BOOTSTRAP"):
        return Kafka(bootstrap=external)
    servers: TemporaryServers = request.getfixturevalue("temporary_servers")
    settings = KafkaServer(
        directory=servers.directory / "kafka",
        port=free_port(),
        controller_port=free_port(),
        password=SecretStr(password()),
    )
    servers.start(make_kafka(settings))
    make_users(settings.connection())
    return settings.connection()


@pytest.fixture(scope="session")
def clickhouse_owner(temporary_servers: TemporaryServers) -> ClickHouseServer:
    """The embedded ClickHouse of this session."""
    settings = ClickHouseServer(
        directory=temporary_servers.directory / "clickhouse", port=free_port(), password=SecretStr(password())
    )
    temporary_servers.start(make_clickhouse(settings))
    return settings


@pytest.fixture(scope="session")
def clickhouse_server(request: pytest.FixtureRequest) -> ClickHouse:
    """How a ClickHouse is reached whose user may make databases."""
    if external := os.environ.get("STREAMCO_TEST_CLICKHOUSE_URL"):
        user = os.environ.get("STREAMCO_TEST_CLICKHOUSE_USER", "default")
        secret = SecretStr(os.environ.get("STREAMCO_TEST_CLICKHOUSE_PASSWORD", ""))
        return ClickHouse(url=external, user=user, password=secret)
    owner: ClickHouseServer = request.getfixturevalue("clickhouse_owner")
    return owner.connection


@pytest.fixture
def clickhouse(clickhouse_server: ClickHouse, postgres: Postgres) -> Iterator[ClickHouse]:
    """A fresh, migrated database of this test's own (PostgreSQL has the lock of migrations)."""
    settings = clickhouse_server.model_copy(update={"database": f"streamco_test_{os.getpid()}_{next(_numbers)}"})
    migrate_clickhouse(postgres, settings)
    yield settings
    with connect_clickhouse(clickhouse_server, database="default") as client:
        client.command(f"DROP DATABASE IF EXISTS {settings.database} SYNC")


@pytest.fixture
def delete_topics(kafka_server: Kafka) -> Callable[[], None]:
    """A function that deletes every topic but the broker's own, and returns when they are really gone."""

    def delete() -> None:
        admin = KafkaAdminClient(**kafka_server.client())
        deadline = time.monotonic() + 30
        try:
            asked: set[str] = set()
            while left := {name for name in admin.list_topics() if not name.startswith("__")}:
                assert time.monotonic() < deadline, f"Kafka still has {left}"
                if left - asked:
                    admin.delete_topics(sorted(left - asked))
                    asked |= left
                time.sleep(0.02)
        finally:
            admin.close()

    return delete


@pytest.fixture
def kafka(kafka_server: Kafka, delete_topics: Callable[[], None]) -> Kafka:
    """A broker whose topics are all new and empty, those of Faust too; what groups had committed went with them."""
    delete_topics()
    make_topics(kafka_server)
    return kafka_server


@pytest.fixture(scope="session")
def asterisk_cache() -> Path:
    """Where Asterisk and SIPp are. A machine that cannot have them: skipped, or failed with CI=true."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamco"
    try:
        installation(cache)
    except FetchError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return cache


@pytest.fixture(scope="session")
def make_line(
    asterisk_cache: Path, postgres_server: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> MakeLine:
    """Makes lines, each with a database, a world and a node of its own."""

    @contextmanager
    def make(name: str, kind: type[AnyLine]) -> Iterator[AnyLine]:
        database = f"streamco_test_{os.getpid()}_{name}"
        _copy_database(postgres_server, database, postgres_template)
        # A short path: it holds Asterisk's socket.
        directory = tmp_path_factory.mktemp(name[0])
        line = kind(_database_url(postgres_server, database), directory, installation(asterisk_cache), asterisk_cache)
        try:
            line.start()
            yield line
        finally:
            line.close()
            _administer(postgres_server, f'DROP DATABASE "{database}" WITH (FORCE)')

    return make


@pytest.fixture(scope="session")
def real_line(make_line: MakeLine) -> Iterator[Line]:
    """Asterisk, router and vendors at work."""
    with ended_early("real_line", make_line("asterisk", Line)) as line:
        yield line


@pytest.fixture(scope="session")
def own_line(make_line: MakeLine) -> Iterator[Line]:
    """A second line, for tests that change its world or end its node."""
    with ended_early("own_line", make_line("own", Line)) as line:
        yield line


@pytest.fixture(scope="session")
def real_calls(real_line: Line) -> dict[str, Seen]:
    """Every call of tests/tools/real_calls.py, ended and journalled."""
    return place(real_line)
