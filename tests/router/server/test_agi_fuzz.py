"""Thousands of AGI sessions of every bad kind, from one seed: none hangs, none is left, no defect shows."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bench.agi_client import ask
from bench.agi_fuzz import KINDS, fuzz
from router.server.agi import AgiApplication, AgiError, AgiRequest
from router.server.main import read_request
from router.settings import RouterSettings, SnapshotSettings
from runtime.connections import Kafka, Postgres

REQUESTS = 3_000


@pytest.fixture
def settings(tmp_path: Path) -> RouterSettings:
    return RouterSettings(
        snapshot=SnapshotSettings(postgres=Postgres(dsn=SecretStr("postgresql://none")), directory=tmp_path),
        kafka=Kafka(bootstrap="127.0.0.1:1"), spool=tmp_path / "spool.sqlite", agi_secret=SecretStr("a secret"),
        header_seconds=1, deadline_seconds=1,
    )  # fmt: skip


async def test_no_bad_session_hangs_or_breaks_anything(settings: RouterSettings) -> None:
    application = AgiApplication(settings, asyncio.get_running_loop())

    async def route(request: AgiRequest) -> None:
        call_id, asked, _ = read_request(request)
        await request.set_variables(
            [("CALL", call_id), ("SAID", asked.caller.replace("\n", "")), ("DECISION", "ALLOW")]
        )

    application.add_route("route", route)
    application.add_route("ping", route)
    server = await application.listen("127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def good() -> int:
        allowed = 0
        for _ in range(60):
            allowed += b"DECISION=ALLOW" in (await ask(port))[1]
            await asyncio.sleep(0.02)
        return allowed

    async with server:
        with capture_logs() as logs:
            found, allowed = await asyncio.gather(fuzz(port, REQUESTS, 64, seed=7), good())
        await asyncio.wait_for(application.idle.wait(), 10)
    assert found["hung"] == {}
    assert set(found["kinds"]) == {kind.__name__ for kind in KINDS}
    assert allowed == 60
    assert application.sessions == 0
    assert application.broken > REQUESTS / 4
    assert [line for line in logs if line["log_level"] == "error"] == []


ODD = (
    "1E+999999",
    "1e999999999",
    "NaN",
    "Infinity",
    "-1",
    "",
    ".",
    "1.",
    "9" * 4_000,
    "4102444800.001",
    " 1",
    "1_0",
    "١",
)


@pytest.mark.parametrize("started_at", ODD)
def test_a_start_is_a_number_of_seconds_and_costs_nothing_to_read(started_at: str) -> None:
    arguments = ["ast1-1795609861-1795609900.12", "c-buyer", "127.0.0.10:5060", "4477", "1212", started_at]
    before = time.thread_time()
    with pytest.raises(AgiError, match="started_at"):
        read_request(cast(AgiRequest, SimpleNamespace(arguments=arguments)))
    assert time.thread_time() - before < 0.05
    arguments[-1] = "1795609900.123"
    assert read_request(cast(AgiRequest, SimpleNamespace(arguments=arguments)))[2] == 1_795_609_900_123
