"""PostgreSQL as the embedded stack starts it: data survives what may happen, errors say what is wrong."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from streamco.embedded.postgres import postgres_server
from streamco.embedded.server import ServerError
from streamco.embedded.settings import PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port

pytestmark = pytest.mark.servers

PASSWORD = "p@ss/w:ord'%x"


@pytest.fixture
def servers() -> Iterator[TemporaryServers]:
    with TemporaryServers() as own:
        yield own


@pytest.fixture
def settings(servers: TemporaryServers) -> PostgresServer:
    return PostgresServer(directory=servers.directory / "pg", port=free_port(), password=SecretStr(PASSWORD))


def connect(settings: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(settings.connection.dsn.get_secret_value(), autocommit=True)


def rows(settings: PostgresServer) -> int:
    with connect(settings) as connection:
        found = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert found is not None
    return int(str(found[0]))


def test_committed_rows_survive_kill_9_stop_and_start(servers: TemporaryServers, settings: PostgresServer) -> None:
    server = postgres_server(settings)
    process = servers.start(server)
    with connect(settings) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    for turn in range(1, 4):
        with connect(settings) as connection:
            connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = servers.start(postgres_server(settings))
        assert rows(settings) == 1000 * turn
    assert servers.stop("postgres") == 0
    servers.start(postgres_server(settings))
    assert rows(settings) == 3000


def test_it_runs_as_another_user_under_root_and_listens_on_loopback_only(
    servers: TemporaryServers, settings: PostgresServer
) -> None:
    process = psutil.Process(servers.start(postgres_server(settings)).pid)
    assert process.uids().effective != 0
    assert os.geteuid() in (0, process.uids().effective)
    listening = [one for one in process.net_connections("all") if one.status == psutil.CONN_LISTEN]
    assert [(one.laddr.ip, one.laddr.port) for one in listening] == [("127.0.0.1", settings.port)]
    assert (settings.directory.stat().st_mode & 0o777) == 0o700


def test_a_wrong_password_is_refused_and_reported(servers: TemporaryServers, settings: PostgresServer) -> None:
    servers.start(postgres_server(settings))
    other = settings.model_copy(update={"password": SecretStr("something else")})
    with pytest.raises(ServerError, match="password authentication failed"):
        postgres_server(other).healthy()


def test_a_second_start_on_the_same_directory_is_refused(servers: TemporaryServers, settings: PostgresServer) -> None:
    process = servers.start(postgres_server(settings))
    with pytest.raises(ServerError, match=rf"already, as process {process.pid}"):
        postgres_server(settings.model_copy(update={"port": free_port()})).prepare(print)


def test_a_busy_port_names_its_holder(settings: PostgresServer) -> None:
    busy = rf"port {settings.port} for PostgreSQL is not free.*process {os.getpid()}"
    with socket.create_server(("127.0.0.1", settings.port)), pytest.raises(ServerError, match=busy):
        postgres_server(settings).prepare(print)
    assert not (settings.directory / "data").exists()


def test_an_interrupted_initdb_is_begun_anew(servers: TemporaryServers, settings: PostgresServer) -> None:
    part = settings.directory / "data.part"
    part.mkdir(parents=True)
    (part / "PG_VERSION").write_text("18\n")
    servers.start(postgres_server(settings))
    assert not part.exists()


def test_a_pid_file_that_names_a_stranger_does_not_hinder(servers: TemporaryServers, settings: PostgresServer) -> None:
    process = servers.start(postgres_server(settings))
    pid_file = settings.directory / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    process.kill()
    process.wait()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    servers.start(postgres_server(settings))


def test_data_of_another_major_version_is_refused(settings: PostgresServer) -> None:
    (settings.directory / "data").mkdir(parents=True)
    (settings.directory / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match="was made by PostgreSQL 16, this is 18"):
        postgres_server(settings).prepare(print)


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute"):
        PostgresServer(directory=Path("data"), password=SecretStr(PASSWORD))
