"""Users and sessions in PostgreSQL: argon2id hashes, random session tokens kept as their SHA-256.

Every function takes an open psycopg connection; `ensure_first_administrator` opens its own, for `streamco up`.
"""

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import argon2
import psycopg

from dashboards.access.logins import normal_address
from dashboards.access.passwords import MAX_CHARACTERS, password_fault

FIRST_LOGIN: Final = "admin"
# RFC 9106's second choice: 64 MiB and three passes. Each check takes that memory, so only three may run at once.
_hasher: Final = argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)
# Who comes from an address that the login has been used at has a place of its own: a crowd of guessers cannot take it.
_HASHING_AT_ONCE: Final = {False: threading.BoundedSemaphore(2), True: threading.BoundedSemaphore(1)}
_HASHING_WAITERS: Final = {False: threading.BoundedSemaphore(4), True: threading.BoundedSemaphore(4)}
_HASHING_WAIT_SECONDS: Final = 5.0
MAX_ADDRESSES: Final = 20  # of a user, the newest
ADDRESS_DAYS: Final = 90
# Checked where a login is unknown, so that its answer takes as long as a wrong password's.
_NOBODYS_HASH: Final = _hasher.hash(secrets.token_urlsafe(24))

_FIND_USER: Final = """
SELECT user_id, login, role, company_id, password_changed_at, password_hash FROM users WHERE login = %s AND enabled"""
# The row is locked: of a session and a new password at the same moment one waits for the other.
_LOG_IN: Final = """
UPDATE users SET last_login_at = %s WHERE user_id = %s AND enabled AND password_changed_at = %s RETURNING login"""
_FIND_SESSION: Final = """
SELECT user_id, login, role, company_id FROM sessions JOIN users USING (user_id)
WHERE token_hash = %s AND expires_at > %s AND enabled"""

_FIND_ADDRESS: Final = """
SELECT 1 FROM login_addresses JOIN users USING (user_id) WHERE login = %s AND address = %s AND last_at > %s"""
_ADD_ADDRESS: Final = """
INSERT INTO login_addresses (user_id, address, last_at) VALUES (%s, %s, %s)
ON CONFLICT (user_id, address) DO UPDATE SET last_at = excluded.last_at"""
_SWEEP_ADDRESSES: Final = """
DELETE FROM login_addresses WHERE user_id = %(user)s AND address NOT IN (
    SELECT address FROM login_addresses WHERE user_id = %(user)s ORDER BY last_at DESC, address LIMIT %(most)s)"""


class UserError(ValueError):
    """A login, password or role that may not be: says the field, its value (of a password none) and the rule."""

    def __init__(self, field: str, value: str, rule: str) -> None:
        self.field, self.value, self.rule = field, value[:80], rule
        super().__init__(f"{field} {self.value!r}: {rule}" if field != "password" else f"{field}: {rule}")


class TooBusyError(Exception):
    """Too many passwords are being checked at this moment."""


@dataclass(frozen=True)
class User:
    """Who is looking. `company_id` is set for role `company` only.

    `password_since`: since when the password that was checked is the user's; None where none was.
    """

    user_id: int
    login: str
    role: str
    company_id: int | None
    password_since: datetime | None = field(default=None, compare=False)


def ensure_first_administrator(dsn: str) -> str | None:
    """Make the login `admin` if there is no user at all; its password, to be shown once, or None if there are users."""
    password = fresh_password()
    with psycopg.connect(dsn) as connection:
        # Two processes at once make one administrator: the second waits here and then finds him.
        connection.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        if connection.execute("SELECT 1 FROM users LIMIT 1").fetchone():
            return None
        add_user(connection, FIRST_LOGIN, password, "administrator")
    return password


def fresh_password() -> str:
    """A password for somebody, to be shown once: 120 random bits."""
    return secrets.token_urlsafe(15)


def add_user(
    connection: psycopg.Connection[Any], login: str, password: str, role: str, company_id: int | None = None
) -> None:
    """Add a user. Raises UserError; psycopg's own where the login exists or the role is none."""
    connection.execute(
        "INSERT INTO users (login, password_hash, role, company_id) VALUES (%s, %s, %s, %s)",
        (login, hash_password(password, login), role, company_id),
    )


def set_password(connection: psycopg.Connection[Any], login: str, password: str) -> None:
    """Give a user a new password and end all his sessions. Raises UserError."""
    row = connection.execute(
        "UPDATE users SET password_hash = %s, password_changed_at = now() WHERE login = %s RETURNING user_id",
        (hash_password(password, login), login),
    ).fetchone()
    if row is None:
        raise UserError("login", login, "there is no such user")
    connection.execute("DELETE FROM sessions WHERE user_id = %s", row)


def hash_password(password: str, login: str = "") -> str:
    """The argon2id hash to keep. Raises UserError for a password that breaks a rule (passwords.py)."""
    if fault := password_fault(password, login):
        raise UserError("password", "", fault)
    return _hasher.hash(password)


def check_login(connection: psycopg.Connection[Any], login: str, password: str, *, known: bool = False) -> User | None:
    """The enabled user of this login and password, or None. Takes equally long either way. Raises TooBusyError.

    `known`: it comes from an address that the login was used at, see `is_known_address`.
    """
    row = connection.execute(_FIND_USER, (login,)).fetchone()
    stored = row[5] if row else _NOBODYS_HASH
    with _hashing(known):
        try:
            _hasher.verify(stored, password[:MAX_CHARACTERS])
        except argon2.exceptions.VerificationError:
            return None
    return User(*row[:5]) if row else None


@contextmanager
def _hashing(known: bool) -> Iterator[None]:
    """A place among those that check passwords. Few wait for one: each takes a thread from those who are logged in."""
    if not _HASHING_WAITERS[known].acquire(blocking=False):
        raise TooBusyError
    try:
        if not _HASHING_AT_ONCE[known].acquire(timeout=_HASHING_WAIT_SECONDS):
            raise TooBusyError
    finally:
        _HASHING_WAITERS[known].release()
    try:
        yield
    finally:
        _HASHING_AT_ONCE[known].release()


def is_known_address(connection: psycopg.Connection[Any], login: str, address: str, now: datetime) -> bool:
    """Has this login been used at this address (as logins.normal_address has it) in the last ADDRESS_DAYS?"""
    since = now - timedelta(days=ADDRESS_DAYS)
    return connection.execute(_FIND_ADDRESS, (login, address, since)).fetchone() is not None


def open_session(
    connection: psycopg.Connection[Any], user: User, remote_address: str, now: datetime, hours: int
) -> str | None:
    """Start a session of a user of `check_login`, which ends by itself after `hours`. Sweeps the ended ones.

    Out: the token that its cookie carries; None where the user has got another password, or was disabled, since that
    check, which may have waited for its turn.
    """
    token = secrets.token_urlsafe(32)
    with connection.transaction():
        found = connection.execute(_LOG_IN, (now, user.user_id, user.password_since)).fetchone()
        if found is None:
            return None
        connection.execute("DELETE FROM sessions WHERE expires_at <= %s", (now,))
        connection.execute(
            "INSERT INTO sessions (token_hash, user_id, remote_address, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (hash_token(token), user.user_id, remote_address[:64], now, now + timedelta(hours=hours)),
        )
        connection.execute(_ADD_ADDRESS, (user.user_id, normal_address(remote_address), now))
        connection.execute(_SWEEP_ADDRESSES, {"user": user.user_id, "most": MAX_ADDRESSES})
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
