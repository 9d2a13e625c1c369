"""The embedded ClickHouse as the stack starts it: data survives what may happen, errors say what is wrong."""

import contextlib
import datetime as dt
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError
from made_requests import ask, ask_and_leave
from pydantic import SecretStr

from runtime.clickhouse import connect
from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.server import ServerError
from streamco.embedded.settings import ClickHouseServer
from streamco.embedded.temporary import TemporaryServers, free_port

pytestmark = pytest.mark.servers

PASSWORD = "p@ss/w:ord'%xü"
ENDLESS = b"SELECT count() FROM numbers(100000000000000) WHERE sipHash64(number) = 1"


@pytest.fixture
def servers() -> Iterator[TemporaryServers]:
    with TemporaryServers() as own:
        yield own


@pytest.fixture
def settings(servers: TemporaryServers) -> ClickHouseServer:
    return ClickHouseServer(directory=servers.directory / "ch", port=free_port(), password=SecretStr(PASSWORD))


class Writer:
    """Inserts batches of 1,000 rows over three days, each again with its token until it is acknowledged."""

    def __init__(self, settings: ClickHouseServer) -> None:
        self._settings = settings
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.acknowledged = 0
        self.failures = 0

    def start(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        day = dt.date(2026, 7, 1)
        while not self._over.is_set():
            batch = self.acknowledged
            rows = [[day + dt.timedelta(n % 3), f"{batch}-{n}", batch] for n in range(1000)]
            try:
                with connect(self._settings.connection, database="default") as client:
                    client.insert("kept", rows, ["day", "id", "batch"], settings={"insert_deduplication_token": batch})
            except (ClickHouseError, OSError):
                self.failures += 1
                time.sleep(0.05)
            else:
                self.acknowledged += 1

    def await_more(self, batches: int) -> None:
        deadline, wanted = time.monotonic() + 60, self.acknowledged + batches
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"{self.acknowledged} batches, {self.failures} failures"
            time.sleep(0.01)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def test_what_was_acknowledged_survives_kill_9_whole_and_once(
    servers: TemporaryServers, settings: ClickHouseServer
) -> None:
    server = clickhouse_server(settings)
    process = servers.start(server)
    with connect(settings.connection, database="default") as client:
        client.command(
            "CREATE TABLE kept (day Date, id String, batch UInt32) ENGINE = ReplacingMergeTree PARTITION BY day"
            " ORDER BY id SETTINGS non_replicated_deduplication_window = 10000"
        )
    writer = Writer(settings)
    writer.start()
    try:
        for _ in range(4):
            writer.await_more(5)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = servers.start(server)
        writer.await_more(1)
    finally:
        writer.end()
    assert writer.failures > 0
    assert servers.stop("clickhouse") == 0
    servers.start(server)
    with connect(settings.connection, database="default") as client:
        batches = client.query("SELECT batch, count() FROM kept FINAL GROUP BY batch ORDER BY batch").result_rows
    assert batches == [(batch, 1000) for batch in range(writer.acknowledged)]


def test_a_second_owner_of_the_directory_is_told_so(servers: TemporaryServers, settings: ClickHouseServer) -> None:
    servers.start(clickhouse_server(settings))
    with TemporaryServers() as others, pytest.raises(ServerError, match="owned by another process"):
        others.start(clickhouse_server(settings.model_copy(update={"port": free_port()})))
    clickhouse_server(settings).healthy()


def test_it_ends_with_0_and_tells_the_client_of_a_query_that_runs(
    servers: TemporaryServers, settings: ClickHouseServer
) -> None:
    servers.start(clickhouse_server(settings))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(settings, data=ENDLESS)))
    asking.start()
    await_queries(settings, lambda count: count == 1)
    begun = time.monotonic()
    assert servers.stop("clickhouse") == 0
    assert time.monotonic() - begun < 15
    asking.join()
    assert [(one.code, one.text.rstrip()[-21:]) for one in answers] == [(394, "(QUERY_WAS_CANCELLED)")]


def test_an_idle_one_ends_at_once(servers: TemporaryServers, settings: ClickHouseServer) -> None:
    servers.start(clickhouse_server(settings))
    begun = time.monotonic()
    assert servers.stop("clickhouse") == 0
    assert time.monotonic() - begun < 4


def running(settings: ClickHouseServer) -> int:
    """How many queries run besides this one."""
    return int(ask(settings, data=b"SELECT count() - 1 FROM system.processes").text)


def await_queries(settings: ClickHouseServer, expected: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + 20
    while not expected(count := running(settings)):
        assert time.monotonic() < deadline, f"{count} queries run"
        time.sleep(0.02)


def test_queries_whose_clients_have_gone_are_ended(servers: TemporaryServers, settings: ClickHouseServer) -> None:
    servers.start(clickhouse_server(settings.model_copy(update={"max_queries": 3})))
    endless_rows = b"SELECT number FROM numbers(100000000000000) FORMAT Native"
    for sql in (ENDLESS, endless_rows, ENDLESS, endless_rows):
        ask_and_leave(settings, sql, after_seconds=0.2)
    await_queries(settings, lambda count: count == 0)
    assert [ask(settings, data=b"SELECT 1").text for _ in range(6)] == ["1\n"] * 6


def test_an_insert_whose_client_has_gone_is_written_whole(
    servers: TemporaryServers, settings: ClickHouseServer
) -> None:
    servers.start(clickhouse_server(settings))
    ask(settings, data=b"CREATE TABLE late (n UInt64) ENGINE = MergeTree ORDER BY n")
    ask_and_leave(settings, b"INSERT INTO late SELECT number + sleepEachRow(0.001) FROM numbers(1500)", 0.3)
    deadline = time.monotonic() + 20
    while (count := ask(settings, data=b"SELECT count() FROM late").text) != "1500\n":
        assert count == "0\n"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_loopback_only_a_closed_directory_and_no_secret_to_be_seen(
    servers: TemporaryServers, settings: ClickHouseServer
) -> None:
    process = psutil.Process(servers.start(clickhouse_server(settings)).pid)
    listening = [one for one in process.net_connections("all") if one.status == psutil.CONN_LISTEN]
    assert [(one.laddr.ip, one.laddr.port) for one in listening] == [("127.0.0.1", settings.port)]
    assert settings.directory.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in " ".join(process.cmdline())
    assert PASSWORD not in repr(settings)
    written = {Path(file.path) for file in process.open_files() if getattr(file, "mode", "r") != "r"}
    assert all(path.is_relative_to(servers.directory) for path in written)


def test_a_busy_port_names_its_holder(settings: ClickHouseServer) -> None:
    busy = rf"port {settings.port} for ClickHouse is not free.*process {os.getpid()}"
    with socket.create_server(("127.0.0.1", settings.port)), pytest.raises(ServerError, match=busy):
        clickhouse_server(settings).prepare(print)


def test_one_that_is_away_and_a_wrong_password_are_reported(
    servers: TemporaryServers, settings: ClickHouseServer
) -> None:
    with pytest.raises(ServerError, match="ClickHouse does not answer"):
        clickhouse_server(settings).healthy()
    servers.start(clickhouse_server(settings))
    other = settings.model_copy(update={"password": SecretStr("something else")})
    with pytest.raises(ServerError, match="AUTHENTICATION_FAILED"):
        clickhouse_server(other).healthy()


def test_one_that_hangs_is_not_healthy(servers: TemporaryServers, settings: ClickHouseServer) -> None:
    """A stopped process still takes connections: only an answer counts."""
    server = clickhouse_server(settings)
    process = servers.start(server)
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ServerError, match="does not answer"):
            server.healthy()
    finally:
        process.send_signal(signal.SIGCONT)
    with contextlib.suppress(ServerError):
        server.healthy()  # what was asked while it stood still may be answered first
    server.healthy()
