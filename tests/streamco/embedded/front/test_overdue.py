"""A person's query that cannot be ended ends the process, and its login; our own processes' queries never do."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from streamco.clickhouse_access.register import Register
from streamco.clickhouse_access.rights import ANALYST, WRITER
from streamco.embedded.front import overdue
from streamco.embedded.front.logins import Login, Logins
from streamco.embedded.front.overdue import EXIT_CODE, Overdue
from streamco.embedded.settings import ClickHouseServer


async def test_what_cannot_be_ended_ends_the_process_and_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ANALYST.limits is not None
    monkeypatch.setattr(overdue, "_GRACE_SECONDS", 0.1 - ANALYST.limits.query_seconds)
    register = Register(tmp_path)
    register.add("ada", "now", frozenset())
    ends: list[int] = []
    watching = Overdue(Logins(ClickHouseServer(directory=tmp_path, password=SecretStr("password"))), ends.append)
    with watching.watched(Login("streamco", WRITER)):
        await asyncio.sleep(0.3)
    with watching.watched(Login("ada", ANALYST)):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert ends == []
    assert register.read()["ada"].enabled
    with watching.watched(Login("ada", ANALYST)):
        await asyncio.sleep(0.3)
    with watching.watched(Login("removed", ANALYST)):
        await asyncio.sleep(0.3)
    assert ends == [EXIT_CODE] * 2
    assert not register.read()["ada"].enabled
    assert "a query of ada has not ended" in capsys.readouterr().err
