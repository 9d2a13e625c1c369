"""Users are added, changed, disabled in a real PostgreSQL: an administrator is left, every act has its person."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboards.access import users
from dashboards.access.api_tokens import make_token, user_of_token
from dashboards.access.table import ROLES
from dashboards.access.users import UserError
from dashboards.topics.users.admin import (
    Ended,
    change_password,
    change_role,
    create_user,
    disable_user,
    enable_user,
    list_users,
)
from runtime.user_acts import Person, list_acts, write_act

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cheap_hashes")]
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
ADA = Person("ada", "page", "192.0.2.1")


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        create_user(opened, ADA, "ada", "administrator", PASSWORD)
        yield opened


def logins(connection: psycopg.Connection[Any]) -> list[tuple[str, str, bool]]:
    return [(row.login, row.role, row.enabled) for row in list_users(connection, NOW, 100)]


def test_a_user_is_added_once_by_its_normal_login(connection: psycopg.Connection[Any]) -> None:
    assert create_user(connection, ADA, " Nora ", "noc", PASSWORD) == "nora"
    assert users.check_login(connection, "nora", PASSWORD) is not None
    for again in ("nora", "NORA", "ｎｏｒａ"):
        with pytest.raises(UserError, match="there is such a user already"):
            create_user(connection, ADA, again, "noc", PASSWORD)
    assert logins(connection) == [("ada", "administrator", True), ("nora", "noc", True)]


@pytest.mark.parametrize(
    ("login", "role", "password", "company", "said"),
    [
        ("a b", "noc", PASSWORD, "", "login 'a b': must be 1 to 64 of"),
        ("", "noc", PASSWORD, "", "login '': must be"),
        ("nora", "root", PASSWORD, "", "role 'root': must be one of administrator"),
        ("nora", "noc", "short", "", "password: from 12 to 256"),
        ("nora", "noc", "password1234", "", "password: is one of those that are guessed first"),
        ("nora.petrova", "noc", "nora.petrova", "", "password: must be more than the login"),
        ("nora", "company", PASSWORD, "", "company '': must be named for role company"),
        ("nora", "noc", PASSWORD, "Acme", "company 'Acme': must be named for role company, and for no other"),
        ("nora", "company", PASSWORD, "Nowhere", "company 'Nowhere': there is no such company"),
    ],
)
def test_what_may_not_be_is_refused_by_field_value_and_rule(
    connection: psycopg.Connection[Any], login: str, role: str, password: str, company: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        create_user(connection, ADA, login, role, password, company)
    assert said in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert logins(connection) == [("ada", "administrator", True)]


def test_disabling_ends_sessions_and_tokens_for_good(connection: psycopg.Connection[Any]) -> None:
    create_user(connection, ADA, "nora", "noc", PASSWORD)
    user = users.check_login(connection, "nora", PASSWORD)
    assert user is not None
    session = users.open_session(connection, user, "127.0.0.1", NOW, 1)
    tokens = [make_token(connection, "nora", name, NOW, 1) for name in ("a", "b")]
    row = next(row for row in list_users(connection, NOW, 100) if row.login == "nora")
    assert (row.sessions, [token.name for token in row.tokens]) == (1, ["a", "b"])
    assert disable_user(connection, ADA, "Nora") == Ended(1, 2)
    assert users.check_login(connection, "nora", PASSWORD) is None
    with pytest.raises(UserError, match="is disabled already"):
        disable_user(connection, ADA, "nora")
    enable_user(connection, ADA, "nora")
    assert users.user_of_session(connection, session, NOW) is None
    assert [user_of_token(connection, token, NOW) for token in tokens] == [None, None]
    assert users.check_login(connection, "nora", PASSWORD) is not None
    with pytest.raises(UserError, match="is not disabled"):
        enable_user(connection, ADA, "nora")


@pytest.mark.parametrize(
    "name",
    ["", " ", "a ", " a", "a  b", "a\u00a0b", "a\u200b", "\u202ea", "ｗａｌｌ", "a\n", "\ud800", "a" * 65, "\x00"],
)
def test_a_token_has_a_name_that_is_not_taken_for_another_one(connection: psycopg.Connection[Any], name: str) -> None:
    with pytest.raises(UserError, match="must be 1 to 64 letters, digits, signs and single blanks"):
        make_token(connection, "ada", name, NOW, 1)
    assert make_token(connection, "ada", "Wall: büro 2", NOW, 1)


def test_every_act_is_written_with_its_person(connection: psycopg.Connection[Any]) -> None:
    ben = Person("ben", "command", "root")
    create_user(connection, ben, "nora", "noc", PASSWORD)
    change_role(connection, ben, "nora", "analyst")
    change_password(connection, ADA, "nora", "another good password")
    disable_user(connection, ADA, "nora")
    enable_user(connection, ADA, "nora")
    with pytest.raises(UserError):
        disable_user(connection, ADA, "ada")  # what was not done is not written
    found = [act[1:] for act in reversed(list_acts(connection, 100))]
    assert found[1:] == [
        ("ben", "command", "root", "users", "add", "nora", "noc"),
        ("ben", "command", "root", "users", "role", "nora", "noc → analyst"),
        ("ada", "page", "192.0.2.1", "users", "password", "nora", ""),
        ("ada", "page", "192.0.2.1", "users", "disable", "nora", "0 sessions, 0 tokens ended"),
        ("ada", "page", "192.0.2.1", "users", "enable", "nora", ""),
    ]
    assert "another good password" not in str(found)
    write_act(connection, Person("x" * 99, "page", ""), "users", "add", "y" * 999, "z" * 999)
    assert [len(text) for text in list_acts(connection, 1)[0][1:]] == [64, 4, 7, 5, 3, 256, 500]


def test_the_last_administrator_stays(connection: psycopg.Connection[Any]) -> None:
    for act in (lambda: disable_user(connection, ADA, "ada"), lambda: change_role(connection, ADA, "ada", "noc")):
        with pytest.raises(UserError, match="the last administrator cannot"):
            act()
    change_role(connection, ADA, "ada", "administrator")
    create_user(connection, ADA, "ben", "administrator", PASSWORD)
    disable_user(connection, ADA, "ben")
    with pytest.raises(UserError, match="the last administrator cannot"):
        disable_user(connection, ADA, "ada")  # one that is disabled lets nobody in
    enable_user(connection, ADA, "ben")
    change_role(connection, ADA, "ada", "viewer")
    assert logins(connection) == [("ada", "viewer", True), ("ben", "administrator", True)]


def test_two_who_disable_each_other_leave_one(connection: psycopg.Connection[Any], postgres_dsn: str) -> None:
    create_user(connection, ADA, "ben", "administrator", PASSWORD)
    for _ in range(5):
        both = threading.Barrier(2)
        refused: list[str] = []

        def disable(login: str, both: threading.Barrier, refused: list[str]) -> None:
            with psycopg.connect(postgres_dsn) as own:
                both.wait()
                try:
                    disable_user(own, ADA, login)
                except UserError as error:
                    refused.append(str(error))

        threads = [threading.Thread(target=disable, args=(login, both, refused)) for login in ("ada", "ben")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        for login, _, enabled in logins(connection):
            if not enabled:
                enable_user(connection, ADA, login)


@pytest.fixture
def three(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    create_user(connection, ADA, "ben", "administrator", PASSWORD)
    create_user(connection, ADA, "cy", "noc", PASSWORD)
    return connection


_ACTS = st.tuples(
    st.sampled_from(("disable", "enable", *(role for role in ROLES if role != "company"))),
    st.sampled_from(("ada", "ben", "cy", "nobody")),
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(_ACTS, min_size=1, max_size=12))
def test_whatever_is_done_an_administrator_is_left(three: psycopg.Connection[Any], acts: list[tuple[str, str]]) -> None:
    for what, login in acts:
        before = logins(three)
        try:
            if what == "disable":
                disable_user(three, ADA, login)
            elif what == "enable":
                enable_user(three, ADA, login)
            else:
                change_role(three, ADA, login, what)
        except UserError:
            assert logins(three) == before
        assert any(role == "administrator" and enabled for _, role, enabled in logins(three))
