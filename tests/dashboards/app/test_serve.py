"""The dashboards' process: it serves what it should, to those who may, and ends whole."""

import multiprocessing
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess

import psutil
import pytest
from pydantic import SecretStr, ValidationError

from dashboards.app.serve import run
from dashboards.settings import DashboardsSettings
from runtime.connections import ClickHouse, Kafka, Postgres
from streamco.embedded.temporary import free_port


def _settings(dsn: str, **values: object) -> DashboardsSettings:
    return DashboardsSettings(
        postgres=Postgres(dsn=SecretStr(dsn)),
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        clickhouse=ClickHouse(url="http://127.0.0.1:1"),
        secret_key=SecretStr("k" * 32),
        **values,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("name", "value"), [("port", 80), ("port", 40_000), ("threads", 0), ("secret_key", "short"), ("unknown", 1)]
)
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    good = _settings("postgresql://x").model_dump()
    with pytest.raises(ValidationError, match=name):
        DashboardsSettings(**{**good, name: value})


@pytest.fixture
def served(postgres_dsn: str) -> Iterator[tuple[int, BaseProcess]]:
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=run, args=(_settings(postgres_dsn, port=port),), daemon=True
    )
    process.start()
    try:
        deadline = time.monotonic() + 40
        while _get(port, "/login")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield port, process
    finally:
        if process.is_alive():
            process.kill()
        process.join(10)


def _get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(2_000).decode(errors="replace")
    except OSError:
        return 0, ""
    finally:
        connection.close()


@pytest.mark.servers
def test_it_serves_while_its_sources_are_away_and_only_to_those_who_may(served: tuple[int, BaseProcess]) -> None:
    port, _ = served
    status, text = _get(port, "/login")
    assert status == 200
    assert "csrf_token" in text
    assert _get(port, "/assets/style.css")[0] == 200
    for path in ("/", "/calls", "/call/x", "/assetsx"):
        assert _get(port, path)[0] == 302, path
    for path in ("/_dash-layout", "/_dash-dependencies", "/_dash-component-suites/dash/deps/react.js"):
        assert _get(port, path)[0] == 401, path
    for path in ("/assets/../auth.py", "/assets/%2e%2e/auth.py", "/assets/..%2fauth.py"):
        assert _get(port, path)[0] in (302, 401, 404), path
    assert _get(port, "/_dash-update-component", "POST")[0] == 401
    assert _get(port, "/_dash-update-component", "POST", Origin="http://evil.example")[0] == 403


@pytest.mark.servers
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_stays_behind(served: tuple[int, BaseProcess], sent: signal.Signals) -> None:
    _, process = served
    assert process.pid is not None
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    os.kill(process.pid, sent)
    process.join(15)
    gone, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive
    assert gone


REQUEST = b"POST /login HTTP/1.1\r\nHost: x\r\n"
SLOW = (
    b"",
    b"GET /login HTTP/1.1\r\nHost: x\r\n",
    REQUEST + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nlogin=a",
    REQUEST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    REQUEST + b"Content-Length: 5000000\r\n\r\nabc",  # refused; the rest is waited for by nobody
    b"GET /login HTTP/1.0\r\n\r\n",  # answered, and its end left open
    b"GET /assets/style.css HTTP/1.1\r\nHost: x\r\n\r\n" * 60,  # answers that nobody reads
)


class Strangers(ExitStack):
    """Connections that are held open, and leave no port behind that others wait for."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def send(self, sent: bytes) -> None:
        one = self.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.connect(("127.0.0.1", self._port))
        one.sendall(sent)


def _served_in_time(port: int, after: object) -> None:
    before = time.monotonic()
    assert _get(port, "/login")[0] == 200, after
    assert time.monotonic() - before < 2, after


@pytest.mark.servers
def test_strangers_who_are_slow_keep_nobody_waiting(served: tuple[int, BaseProcess]) -> None:
    """More of each kind than there are threads; none of them has a session."""
    port, _ = served
    with Strangers(port) as held:
        for sent in SLOW:
            for _ in range(25):
                held.send(sent)
            _served_in_time(port, sent)
        for _ in range(40):  # those that are idle between two requests are no slow ones, and make room as well
            held.send(b"GET /login HTTP/1.1\r\nHost: x\r\n\r\n")
        for number in range(600):  # more than there may be connections: the oldest of them make room
            held.send(b"GET /login HTTP/1.1\r\n")
            if number % 200 == 199:
                _served_in_time(port, number)


@pytest.mark.servers
def test_answers_that_nobody_takes_keep_no_thread(served: tuple[int, BaseProcess]) -> None:
    """Many requests behind one another on each connection: the later ones wait, and no thread with them."""
    port, _ = served
    answers = []
    with Strangers(port) as held:
        for _ in range(25):
            held.send(SLOW[-1])
        end = time.monotonic() + 5
        while time.monotonic() < end:
            before = time.monotonic()
            assert _get(port, "/login")[0] == 200
            answers.append(time.monotonic() - before)
            time.sleep(0.02)
    assert max(answers) < 2


@pytest.mark.servers
def test_requests_in_pieces_behind_one_another_and_too_large_are_answered(served: tuple[int, BaseProcess]) -> None:
    port, _ = served
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        for piece in (
            b"GET /assets/scheme.js HT",
            b"TP/1.1\r\nHost: x\r\n",
            b"\r\nGET /login HTTP/1.1\r\nHost: x\r\n\r",
            b"\n",
        ):
            one.sendall(piece)
            time.sleep(0.05)
        one.sendall(REQUEST + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        answers = b""
        while b"100 Continue" not in answers:
            answers += one.recv(65_536)
        one.sendall(b"a=b")
        while more := one.recv(65_536):
            answers += more
    found = re.findall(rb"HTTP/1.1 (\d+) ", answers)
    assert (found[:2], found[-1]) == ([b"200", b"200"], b"400"), "the last one has no token of the form"
    for sent, status in (
        (REQUEST + b"Content-Length: 5000000\r\n\r\n", b"413"),
        (b"GET /login HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (REQUEST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
            one.sendall(sent)
            assert one.recv(65_536).split(b" ")[1] == status
