"""Users and sessions in a real PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dashboards.access import users

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        yield opened


def test_first_administrator_is_made_once_even_by_two_at_once(postgres_dsn: str) -> None:
    passwords: list[str | None] = []
    both = [
        threading.Thread(target=lambda: passwords.append(users.ensure_first_administrator(postgres_dsn)))
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    shown = [password for password in passwords if password]
    assert len(shown) == 1
    assert users.ensure_first_administrator(postgres_dsn) is None
    with psycopg.connect(postgres_dsn) as connection:
        user = users.check_login(connection, "admin", shown[0])
        rows = connection.execute("SELECT login, role, password_hash FROM users").fetchall()
    assert user is not None
    assert user.role == "administrator"
    assert [(row[0], row[1]) for row in rows] == [("admin", "administrator")]
    assert rows[0][2].startswith("$argon2id$")
    assert shown[0] not in rows[0][2]


def test_login_wants_the_right_password_of_an_enabled_user(connection: psycopg.Connection[Any]) -> None:
    users.add_user(connection, "noc", PASSWORD, "noc")
    assert users.check_login(connection, "noc", PASSWORD) is not None
    assert users.check_login(connection, "noc", PASSWORD + " ") is None
    assert users.check_login(connection, "noc", "") is None
    assert users.check_login(connection, "nobody", PASSWORD) is None
    assert users.check_login(connection, "noc' OR true --", PASSWORD) is None
    connection.execute("UPDATE users SET enabled = false")
    assert users.check_login(connection, "noc", PASSWORD) is None


def test_a_session_opens_until_it_ends(connection: psycopg.Connection[Any]) -> None:
    users.add_user(connection, "noc", PASSWORD, "noc")
    user = users.check_login(connection, "noc", PASSWORD)
    assert user is not None
    token = users.open_session(connection, user, "127.0.0.1", NOW, hours=2)
    assert users.user_of_session(connection, token, NOW + timedelta(minutes=119)) == user
    assert users.user_of_session(connection, token, NOW + timedelta(minutes=120)) is None
    assert users.user_of_session(connection, token[:-1], NOW) is None
    kept = connection.execute("SELECT token_hash FROM sessions").fetchall()
    assert kept == [(users.hash_token(token),)]
    assert token.encode() not in kept[0][0]
    users.close_session(connection, token)
    assert users.user_of_session(connection, token, NOW) is None


def test_a_disabled_user_and_a_new_password_end_sessions(connection: psycopg.Connection[Any]) -> None:
    users.add_user(connection, "noc", PASSWORD, "noc")
    user = users.check_login(connection, "noc", PASSWORD)
    assert user is not None
    token = users.open_session(connection, user, "127.0.0.1", NOW, hours=2)
    connection.execute("UPDATE users SET enabled = false")
    assert users.user_of_session(connection, token, NOW) is None
    connection.execute("UPDATE users SET enabled = true")
    assert users.user_of_session(connection, token, NOW) == user
    users.set_password(connection, "noc", "another password")
    assert users.user_of_session(connection, token, NOW) is None
    assert users.check_login(connection, "noc", PASSWORD) is None
    assert users.check_login(connection, "noc", "another password") is not None


def test_ended_sessions_are_swept(connection: psycopg.Connection[Any]) -> None:
    users.add_user(connection, "noc", PASSWORD, "noc")
    user = users.check_login(connection, "noc", PASSWORD)
    assert user is not None
    users.open_session(connection, user, "127.0.0.1", NOW, hours=1)
    users.open_session(connection, user, "127.0.0.1", NOW + timedelta(hours=1), hours=1)
    assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


@pytest.mark.parametrize(("login", "role"), [("UPPER", "noc"), ("a b", "noc"), ("ok", "root"), ("ok", "company")])
def test_nonsense_is_refused(connection: psycopg.Connection[Any], login: str, role: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        users.add_user(connection, login, PASSWORD, role)


def test_a_password_has_bounds(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(users.UserError, match="from 12 to 256"):
        users.add_user(connection, "noc", "short", "noc")
    with pytest.raises(users.UserError, match="from 12 to 256"):
        users.add_user(connection, "noc", "x" * 257, "noc")
    with pytest.raises(users.UserError, match="no such user"):
        users.set_password(connection, "nobody", PASSWORD)


@pytest.mark.parametrize("meanwhile", ["a new password", "disabled"])
def test_a_login_that_was_checked_before_opens_nothing_after(
    connection: psycopg.Connection[Any], meanwhile: str
) -> None:
    """A check waits for its turn: who knows the old password has some under way when it is changed."""
    users.add_user(connection, "noc", PASSWORD, "noc")
    user = users.check_login(connection, "noc", PASSWORD)
    assert user is not None
    if meanwhile == "disabled":
        connection.execute("UPDATE users SET enabled = false")
    else:
        users.set_password(connection, "noc", "another password")
    assert users.open_session(connection, user, "127.0.0.1", NOW, hours=2) is None
    assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM login_addresses").fetchone() == (0,)
