"""Who is let in by which password, from when on, and how much each login may take."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streamco.clickhouse_access.register import Register
from streamco.clickhouse_access.rights import ANALYST, READER, WRITER
from streamco.embedded.front import logins as module
from streamco.embedded.front.logins import Login, Logins, Usage
from streamco.embedded.front.wire import EngineError
from streamco.embedded.settings import ClickHouseServer

NOBODY: frozenset[str] = frozenset()


@pytest.fixture
def settings(tmp_path: Path) -> ClickHouseServer:
    return ClickHouseServer(
        directory=tmp_path, password=SecretStr("the writer's"), reader_password=SecretStr("the reader's")
    )


def test_each_login_has_its_own_rights(settings: ClickHouseServer) -> None:
    password = Register(settings.directory).add("ada", "now", NOBODY)
    logins = Logins(settings)
    assert logins.known("streamco", "the writer's") == Login("streamco", WRITER)
    assert logins.known("streamco_reader", "the reader's") == Login("streamco_reader", READER)
    ada = logins.verify("ada", password)
    assert (ada.name, ada.rights.role, ada.rights.read_only) == ("ada", ANALYST.role, True)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("streamco", "the reader's"),
        ("streamco_reader", "the writer's"),
        ("streamco", ""),
        ("", ""),
        ("", "the writer's"),
        ("ada", ""),
        ("ada", "wrong"),
        ("nobody", "wrong"),
        ("ada\x00", "wrong"),
    ],
)
def test_nobody_else_comes_in(settings: ClickHouseServer, name: str, password: str) -> None:
    Register(settings.directory).add("ada", "now", NOBODY)
    logins = Logins(settings)
    assert logins.known(name, password) is None
    with pytest.raises(EngineError, match="AUTHENTICATION_FAILED"):
        logins.verify(name, password)


def test_a_verified_analyst_is_hashed_no_more_until_the_register_changes(
    settings: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = Register(settings.directory)
    logins = Logins(settings)
    password = register.add("ada", "now", NOBODY)
    assert logins.known("ada", password) is None
    logins.verify("ada", password)
    monkeypatch.setattr(module, "matches", lambda *_: pytest.fail("hashed again"))
    assert logins.known("ada", password) is not None
    assert logins.known("ada", f"{password}x") is None
    register.enable("ada", enabled=False)
    assert logins.known("ada", password) is None
    register.enable("ada", enabled=True)
    assert logins.known("ada", password) is not None
    register.renew("ada")
    assert logins.known("ada", password) is None


def test_a_disabled_and_a_removed_login_are_refused_with_the_right_password(settings: ClickHouseServer) -> None:
    register = Register(settings.directory)
    logins = Logins(settings)
    password = register.add("ada", "now", NOBODY)
    logins.verify("ada", password)
    register.enable("ada", enabled=False)
    for removed in (False, True):
        if removed:
            register.remove("ada")
        assert logins.known("ada", password) is None
        with pytest.raises(EngineError, match="AUTHENTICATION_FAILED"):
            logins.verify("ada", password)


def test_a_register_that_others_may_read_lets_nobody_in(settings: ClickHouseServer) -> None:
    register = Register(settings.directory)
    password = register.add("ada", "now", NOBODY)
    register.path.chmod(0o644)
    with pytest.raises(EngineError, match="AUTHENTICATION_FAILED"):
        Logins(settings).verify("ada", password)


def test_an_analysts_queries_leave_memory_to_others(settings: ClickHouseServer) -> None:
    password = Register(settings.directory).add("ada", "now", NOBODY)
    rights = Logins(settings).verify("ada", password).rights
    assert rights.maxima["max_memory_usage"] == settings.memory_bytes // 4


class Clock:
    """Seconds as they are set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_only_so_many_queries_run_at_once() -> None:
    usage = Usage(Clock())
    ada, bob = Login("ada", ANALYST), Login("bob", ANALYST)
    assert ANALYST.limits is not None
    ends = [usage.begin(ada) for _ in range(ANALYST.limits.concurrent_queries)]
    with pytest.raises(EngineError, match=r"202.*ada: 4 queries run already"):
        usage.begin(ada)
    usage.begin(bob)()
    ends.pop()()
    usage.begin(ada)


@pytest.mark.parametrize(("field", "said"), [("hour_queries", "queries an hour"), ("hour_seconds", "seconds of")])
def test_an_hour_has_only_so_much(field: str, said: str) -> None:
    clock: Any = Clock()
    usage, ada = Usage(clock), Login("ada", ANALYST)
    assert ANALYST.limits is not None
    begun = clock.now
    if field == "hour_queries":
        for _ in range(ANALYST.limits.hour_queries):
            usage.begin(ada)()
    else:
        end = usage.begin(ada)
        clock.now += ANALYST.limits.hour_seconds - 1
        end()
        end = usage.begin(ada)
        clock.now += 1
        end()
        clock.now = begun + 3_599
    with pytest.raises(EngineError, match=rf"201.*{said}.*QUOTA_EXCEEDED"):
        usage.begin(ada)
    clock.now = begun + 3_600
    usage.begin(ada)()


def test_our_own_processes_have_no_quota() -> None:
    usage = Usage(Clock())
    for login in (Login("streamco", WRITER), Login("streamco_reader", READER)):
        for _ in range(100):
            usage.begin(login)
