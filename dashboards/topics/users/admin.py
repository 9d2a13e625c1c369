"""Users are added, given roles and passwords, disabled; tokens are listed. Each act is written with who did it.

Every function takes an open psycopg connection and is one transaction. There is always an enabled administrator: the
last one can be neither disabled nor given another role.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

from dashboards.access.logins import LOGIN_RULE, normal_login
from dashboards.access.table import ROLES
from dashboards.access.users import UserError, add_user, set_password
from runtime.user_acts import Person, write_act

_AREA: Final = "users"
# Locked, so that of two who disable each other the second finds that it is the last.
_ADMINISTRATORS: Final = """
SELECT login FROM users WHERE role = 'administrator' AND enabled ORDER BY user_id FOR UPDATE"""
_LIST: Final = """
SELECT login, role, companies.name, users.enabled, users.created_at, last_login_at, password_changed_at,
       (SELECT count(*) FROM sessions WHERE sessions.user_id = users.user_id AND sessions.expires_at > %(now)s)
FROM users LEFT JOIN companies USING (company_id) ORDER BY login LIMIT %(limit)s"""
_TOKENS: Final = """
SELECT login, name, api_tokens.created_at, expires_at FROM api_tokens JOIN users USING (user_id)
WHERE expires_at > %s ORDER BY login, name"""


class Token(NamedTuple):
    """A token of the API, without what opens anything."""

    name: str
    created_at: datetime
    expires_at: datetime


class UserRow(NamedTuple):
    """A user, as administrators are shown it."""

    login: str
    role: str
    company: str | None
    enabled: bool
    created_at: datetime
    last_login_at: datetime | None
    password_changed_at: datetime
    sessions: int
    tokens: tuple[Token, ...]


class Ended(NamedTuple):
    """What an act has ended."""

    sessions: int
    tokens: int


def list_users(connection: psycopg.Connection[Any], now: datetime, limit: int) -> Sequence[UserRow]:
    """All users by login, with their tokens that go on and the number of their sessions."""
    tokens: dict[str, list[Token]] = {}
    for login, *token in connection.execute(_TOKENS, (now,)).fetchall():
        tokens.setdefault(login, []).append(Token(*token))
    found = connection.execute(_LIST, {"now": now, "limit": limit}).fetchall()
    return [UserRow._make((*row, tuple(tokens.get(row[0], ())))) for row in found]


def create_user(
    connection: psycopg.Connection[Any], person: Person, login: str, role: str, password: str, company: str = ""
) -> str:
    """Add a user; its login as it is kept. Raises UserError."""
    kept = normal_login(login)
    if kept is None:
        raise UserError("login", login, LOGIN_RULE)
    with connection.transaction():
        company_id = _company(connection, role, company)
        if connection.execute("SELECT 1 FROM users WHERE login = %s", (kept,)).fetchone():
            raise UserError("login", kept, "there is such a user already")
        try:
            add_user(connection, kept, password, role, company_id)
        except psycopg.errors.UniqueViolation as error:  # added at the same moment
            raise UserError("login", kept, "there is such a user already") from error
        write_act(connection, person, _AREA, "add", kept, role if not company else f"{role} of {company}")
    return kept


def change_role(connection: psycopg.Connection[Any], person: Person, login: str, role: str, company: str = "") -> None:
    """Give a user another role, from its next request on. Raises UserError."""
    with connection.transaction():
        company_id = _company(connection, role, company)
        kept, before, _ = _locked(connection, login)
        if role != "administrator":
            _keep_one(connection, kept, "be given another role")
        connection.execute("UPDATE users SET role = %s, company_id = %s WHERE login = %s", (role, company_id, kept))
        write_act(connection, person, _AREA, "role", kept, f"{before} → {role}" + (f" of {company}" if company else ""))


def disable_user(connection: psycopg.Connection[Any], person: Person, login: str) -> Ended:
    """Let a user in no more: its sessions and tokens end. Raises UserError."""
    with connection.transaction():
        kept, _, enabled = _locked(connection, login)
        if not enabled:
            raise UserError("login", kept, "is disabled already")
        _keep_one(connection, kept, "be disabled")
        connection.execute("UPDATE users SET enabled = false WHERE login = %s", (kept,))
        ended = Ended(_end(connection, "sessions", kept), _end(connection, "api_tokens", kept))
        write_act(connection, person, _AREA, "disable", kept, f"{ended.sessions} sessions, {ended.tokens} tokens ended")
    return ended


def enable_user(connection: psycopg.Connection[Any], person: Person, login: str) -> None:
    """Let a disabled user in again; what had ended stays so. Raises UserError."""
    with connection.transaction():
        kept, _, enabled = _locked(connection, login)
        if enabled:
            raise UserError("login", kept, "is not disabled")
        for table in ("sessions", "api_tokens"):  # what was made at the very moment of the disabling
            _end(connection, table, kept)
        connection.execute("UPDATE users SET enabled = true WHERE login = %s", (kept,))
        write_act(connection, person, _AREA, "enable", kept)


def change_password(connection: psycopg.Connection[Any], person: Person, login: str, password: str) -> None:
    """Give a user a new password; its sessions end, its tokens go on. Raises UserError."""
    with connection.transaction():
        kept, _, _ = _locked(connection, login)
        set_password(connection, kept, password)
        write_act(connection, person, _AREA, "password", kept)


def _locked(connection: psycopg.Connection[Any], login: str) -> tuple[str, str, bool]:
    """A user's login, role, and whether it is enabled. Raises UserError. All who change users wait for each other."""
    connection.execute(_ADMINISTRATORS)
    row = connection.execute(
        "SELECT login, role, enabled FROM users WHERE login = %s FOR UPDATE", (normal_login(login) or "",)
    ).fetchone()
    if row is None:
        raise UserError("login", login, "there is no such user")
    return str(row[0]), str(row[1]), bool(row[2])


def _keep_one(connection: psycopg.Connection[Any], login: str, what: str) -> None:
    left = {row[0] for row in connection.execute(_ADMINISTRATORS)}
    if left == {login}:
        raise UserError("login", login, f"the last administrator cannot {what}; make another one first")


def _end(connection: psycopg.Connection[Any], table: str, login: str) -> int:
    statement = f"DELETE FROM {table} WHERE user_id = (SELECT user_id FROM users WHERE login = %s)"  # noqa: S608
    return connection.execute(statement.encode(), (login,)).rowcount


def _company(connection: psycopg.Connection[Any], role: str, company: str) -> int | None:
    if role not in ROLES:
        raise UserError("role", role, f"must be one of {', '.join(ROLES)}")
    if (role == "company") != bool(company):
        raise UserError("company", company, "must be named for role company, and for no other role")
    if not company:
        return None
    row = connection.execute("SELECT company_id FROM companies WHERE name = %s", (company,)).fetchone()
    if row is None:
        raise UserError("company", company, "there is no such company")
    return int(row[0])
