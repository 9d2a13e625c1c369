"""Tokens of the REST API in PostgreSQL: random, shown once, kept as their SHA-256. Each acts as its user.

Every function takes an open psycopg connection.
"""

import re
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from dashboards.users import User, UserError, hash_token

MOST_DAYS: Final = 366
TOKEN: Final = re.compile(r"streamco_[A-Za-z0-9_-]{43}", re.ASCII)
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,64}")
_FIND: Final = """
SELECT user_id, login, role, company_id FROM api_tokens JOIN users USING (user_id)
WHERE token_hash = %s AND expires_at > %s AND enabled"""


def make_token(connection: psycopg.Connection[Any], login: str, name: str, now: datetime, days: int) -> str:
    """A new token of a user, in place of his one of that name; ended ones are swept. Raises UserError."""
    if _NAME.fullmatch(name) is None:
        raise UserError(f"name {name[:80]!r}: must be 1 to 64 characters, none of them a control character")
    if not 1 <= days <= MOST_DAYS:
        raise UserError(f"days {days}: must be 1 to {MOST_DAYS}")
    token = f"streamco_{secrets.token_urlsafe(32)}"
    connection.execute("DELETE FROM api_tokens WHERE expires_at <= %s", (now,))
    row = connection.execute(
        "INSERT INTO api_tokens (token_hash, user_id, name, created_at, expires_at)"
        " SELECT %s, user_id, %s, %s, %s FROM users WHERE login = %s"
        " ON CONFLICT (user_id, name) DO UPDATE SET token_hash = excluded.token_hash,"
        " created_at = excluded.created_at, expires_at = excluded.expires_at RETURNING user_id",
        (hash_token(token), name, now, now + timedelta(days=days), login),
    ).fetchone()
    if row is None:
        raise UserError(f"login {login[:80]!r}: there is no such user")
    return token


def end_token(connection: psycopg.Connection[Any], login: str, name: str) -> None:
    """End a token: from now on it opens nothing. Raises UserError where there is none."""
    row = connection.execute(
        "DELETE FROM api_tokens USING users WHERE users.user_id = api_tokens.user_id AND login = %s AND name = %s"
        " RETURNING name",
        (login, name),
    ).fetchone()
    if row is None:
        raise UserError(f"name {name[:80]!r}: {login[:80]} has no token of that name")


def user_of_token(connection: psycopg.Connection[Any], token: str, now: datetime) -> User | None:
    """Whose token this is, if it has not ended and the user is still enabled."""
    row = connection.execute(_FIND, (hash_token(token), now)).fetchone()
    return User(*row) if row else None
