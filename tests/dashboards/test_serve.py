"""The dashboards' process: it serves what it should, to those who may, and ends whole."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess

import psutil
import pytest
from pydantic import SecretStr, ValidationError

from dashboards.serve import run
from dashboards.settings import DashboardsSettings
from schemas.connections import ClickHouse, Kafka, Postgres
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
