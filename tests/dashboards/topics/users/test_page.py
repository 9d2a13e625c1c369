"""The users' page and one's own account: what they say, what is asked twice, what an act on a real table makes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from command_role import as_room

from dashboards.access.login_limiter import LoginLimiter
from dashboards.access.users import (
    UserError,
    check_login,
    close_session,
    is_known_address,
    open_session,
    user_of_session,
)
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.sources import Sources
from dashboards.topics.users.admin import Token, UserRow
from dashboards.topics.users.page import act_row, acted, before, user_row, verdict
from dashboards.topics.users.store import UserState, UserStore
from runtime.connections import Postgres
from runtime.postgres_pool import Connections
from runtime.user_acts import Person, UserAct

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
ADA = Person("ada", "page", "192.0.2.1")


def row(login: str, role: str = "administrator", **values: Any) -> UserRow:
    made = UserRow(login, role, None, True, NOW, None, NOW, 0, ())
    return made._replace(**values)


def test_the_first_line() -> None:
    one = verdict(UserState([row("ada", sessions=1), row("ben", "noc", enabled=False)]))
    assert (one.state, one.text.split(". ")[0]) == ("amber", "1 user, 1 administrator, 1 session open; 1 disabled")
    two = verdict(UserState([row("ada"), row("ben")]))
    assert (two.state, two.text) == ("normal", "2 users, 2 administrators, 0 sessions open")
    assert verdict(UserState(away="PostgreSQL does not answer")).state == "red"


def test_rows_and_what_is_asked_first() -> None:
    tokens = (Token("exports", NOW, NOW), Token("wall", NOW, NOW))
    shown = user_row(row("nora", "noc", sessions=2, tokens=tokens, enabled=False))
    assert (shown["state"], shown["live_tokens"], shown["last"]) == ("disabled", 2, "–")
    assert shown["tokens"].startswith("exports until 2026-11-28, wall until")
    assert "nora may come in no more: 2 open sessions and 2 tokens end." in before("users-disable", "nora", "", shown)
    assert before("users-role", "nora", "viewer", shown).startswith("nora becomes viewer")
    act = act_row(UserAct(NOW, "ada", "page", "192.0.2.1", "users", "add", "nora", "noc"), 0)
    assert (act["who"], act["act"], act["subject"]) == ("ada", "users: add", "nora")


@pytest.fixture
def store(postgres: Postgres, cheap_hashes: None) -> UserStore:
    made = UserStore(Connections(postgres), lambda: NOW, LoginLimiter(2), lambda: 0.0)
    made.create(ADA, "ada", "administrator")
    return made


@pytest.mark.servers
def test_buttons_do_what_they_say(store: UserStore, postgres: Postgres) -> None:
    class Known:
        users = store

    sources: Sources = Known()  # type: ignore[assignment]

    def press(button: str, login: str, role: str = "noc") -> tuple[str, bool]:
        said, done = acted(sources, ADA, button, login, role)
        return str(said), done

    said, done = press("users-add", "Nora")
    assert done
    assert "nora was added. Its password, shown this once" in said
    assert press("users-add", "nora")[1] is False
    assert press("users-role", "nora", "viewer")[1]
    assert "has a new one" in press("users-password", "nora")[0]
    assert "0 sessions and 0 tokens ended" in press("users-disable", "nora")[0]
    assert press("users-enable", "nora")[1]
    assert "the last administrator cannot be disabled" in press("users-disable", "ada")[0]
    state = store.state()
    assert [(one.login, one.role) for one in state.users] == [("ada", "administrator"), ("nora", "viewer")]
    assert {one.person for one in state.acts} == {"ada"}
    nobody = Connections(Postgres.model_validate({"dsn": "postgresql://127.0.0.1:9/none"}))
    away = UserStore(nobody, lambda: NOW, LoginLimiter(2))
    assert "PostgreSQL does not answer" in away.state().away
    with pytest.raises(SourceAwayError):
        away.disable(ADA, "nora")


@pytest.mark.servers
def test_ones_own_password_wants_the_present_one_and_wrong_ones_wait(store: UserStore, postgres: Postgres) -> None:
    password = store.renew_password(ADA, "ada").password
    with pytest.raises(UserError, match="from 12 to 256"):
        store.change_own_password(ADA, password, "short")
    store.change_own_password(ADA, password, "correct horse battery")
    for said in ("the one you have now is another", "the one you have now is another", "wait 1 s"):
        with pytest.raises(UserError, match=said):
            store.change_own_password(ADA, password, "another good password")
    with psycopg.connect(postgres.dsn.get_secret_value()) as connection:
        assert check_login(connection, "ada", "correct horse battery") is not None


@pytest.mark.servers
def test_the_dashboards_own_role_may_do_all_of_it(postgres: Postgres, cheap_hashes: None) -> None:
    grown = as_room(postgres.dsn.get_secret_value(), "dashboards")
    own = UserStore(Connections(grown), lambda: NOW, LoginLimiter(2), lambda: 0.0)
    password = own.create(ADA, "ada", "administrator").password
    own.create(ADA, "nora", "noc")
    own.change_role(ADA, "nora", "viewer")
    own.renew_password(ADA, "nora")
    own.disable(ADA, "nora")
    own.enable(ADA, "nora")
    own.change_own_password(ADA, password, "correct horse battery")
    assert len(own.state().acts) == 7
    with psycopg.connect(grown.dsn.get_secret_value()) as connection:
        user = check_login(connection, "ada", "correct horse battery")
        assert user is not None
        for n in range(25):
            token = open_session(connection, user, f"192.0.2.{n}", NOW + timedelta(seconds=n), 1)
        assert is_known_address(connection, "ada", "192.0.2.24", NOW)
        assert not is_known_address(connection, "ada", "192.0.2.1", NOW), "the newest twenty are kept"
        assert user_of_session(connection, token, NOW) == user
        close_session(connection, token)
