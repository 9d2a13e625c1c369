"""Users and sessions in PostgreSQL: argon2id hashes, random session tokens kept as their SHA-256.

Every function takes an open psycopg connection; `ensure_first_administrator` opens its own, for `streamco up`.
"""

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import argon2
import psycopg

FIRST_LOGIN: Final = "admin"
MIN_PASSWORD_CHARACTERS: Final = 12
MAX_PASSWORD_CHARACTERS: Final = 256
# Roles that see every company. A `company` user gets no page before rows are scoped to his company.
STAFF_ROLES: Final = frozenset({"administrator", "noc", "billing", "analyst"})

# RFC 9106's second choice: 64 MiB and three passes. Each check takes that memory, so only two may run at once.
_hasher: Final = argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)
_HASHING_AT_ONCE: Final = threading.BoundedSemaphore(2)
_HASHING_WAIT_SECONDS: Final = 5.0
# Checked where a login is unknown, so that its answer takes as long as a wrong password's.
_NOBODYS_HASH: Final = _hasher.hash(secrets.token_urlsafe(24))

_FIND_USER: Final = """
SELECT user_id, login, role, company_id, password_hash FROM users WHERE login = %s AND enabled"""
_FIND_SESSION: Final = """
SELECT user_id, login, role, company_id FROM sessions JOIN users USING (user_id)
WHERE token_hash = %s AND expires_at > %s AND enabled"""


class UserError(ValueError):
    """A login, password or role that may not be: says which rule."""


class TooBusyError(Exception):
    """Too many passwords are being checked at this moment."""


@dataclass(frozen=True)
class User:
    """Who is looking. `company_id` is set for role `company` only."""

    user_id: int
    login: str
    role: str
    company_id: int | None


def ensure_first_administrator(dsn: str) -> str | None:
    """Make the login `admin` if there is no user at all; its password, to be shown once, or None if there are users."""
    password = secrets.token_urlsafe(15)
    with psycopg.connect(dsn) as connection:
        # Two processes at once make one administrator: the second waits here and then finds him.
        connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        if connection.execute("SELECT 1 FROM users LIMIT 1").fetchone():
            return None
        add_user(connection, FIRST_LOGIN, password, "administrator")
    return password


def add_user(
    connection: psycopg.Connection[Any], login: str, password: str, role: str, company_id: int | None = None
) -> None:
    """Add a user. Raises UserError; psycopg's own where the login exists or the role is none."""
    connection.execute(
        "INSERT INTO users (login, password_hash, role, company_id) VALUES (%s, %s, %s, %s)",
        (login, hash_password(password), role, company_id),
    )


def set_password(connection: psycopg.Connection[Any], login: str, password: str) -> None:
    """Give a user a new password and end all his sessions. Raises UserError."""
    row = connection.execute(
        "UPDATE users SET password_hash = %s, password_changed_at = now() WHERE login = %s RETURNING user_id",
        (hash_password(password), login),
    ).fetchone()
    if row is None:
        raise UserError(f"login {login!r}: there is no such user")
    connection.execute("DELETE FROM sessions WHERE user_id = %s", row)


def hash_password(password: str) -> str:
    """The argon2id hash to keep. Raises UserError for a password too short or too long."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise UserError(f"password: from {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters")
    return _hasher.hash(password)


def check_login(connection: psycopg.Connection[Any], login: str, password: str) -> User | None:
    """The enabled user of this login and password, or None. Takes equally long either way. Raises TooBusyError."""
    row = connection.execute(_FIND_USER, (login,)).fetchone()
    stored = row[4] if row else _NOBODYS_HASH
    if not _HASHING_AT_ONCE.acquire(timeout=_HASHING_WAIT_SECONDS):
        raise TooBusyError
    try:
        _hasher.verify(stored, password[:MAX_PASSWORD_CHARACTERS])
    except argon2.exceptions.VerificationError:
        return None
    finally:
        _HASHING_AT_ONCE.release()
    return User(*row[:4]) if row else None


def open_session(
    connection: psycopg.Connection[Any], user: User, remote_address: str, now: datetime, hours: int
) -> str:
    """Start a session that ends by itself after `hours`; the token that its cookie carries. Sweeps the ended ones."""
    token = secrets.token_urlsafe(32)
    connection.execute("DELETE FROM sessions WHERE expires_at <= %s", (now,))
    connection.execute(
        "INSERT INTO sessions (token_hash, user_id, remote_address, created_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        (hash_token(token), user.user_id, remote_address[:64], now, now + timedelta(hours=hours)),
    )
    connection.execute("UPDATE users SET last_login_at = %s WHERE user_id = %s", (now, user.user_id))
    return token


def user_of_session(connection: psycopg.Connection[Any], token: str, now: datetime) -> User | None:
    """Whose session this is, if it goes on and the user is still enabled."""
    row = connection.execute(_FIND_SESSION, (hash_token(token), now)).fetchone()
    return User(*row) if row else None


def close_session(connection: psycopg.Connection[Any], token: str) -> None:
    """End a session: its cookie opens nothing any more, wherever a copy of it is."""
    connection.execute("DELETE FROM sessions WHERE token_hash = %s", (hash_token(token),))


def hash_token(token: str) -> bytes:
    """What is kept of a session's token. The token is 32 random bytes, so a plain digest is enough."""
    return hashlib.sha256(token.encode()).digest()
