"""Tokens of the REST API in PostgreSQL: random, shown once, kept as their SHA-256. Each acts as its user.

Every function takes an open psycopg connection.
"""

import re
import secrets
import unicodedata
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from dashboards.access.users import User, UserError, hash_token

MOST_DAYS: Final = 366
TOKEN: Final = re.compile(r"streamco_[A-Za-z0-9_-]{43}", re.ASCII)
_MOST_NAME: Final = 64
_FIND: Final = """
SELECT user_id, login, role, company_id FROM api_tokens JOIN users USING (user_id)
WHERE token_hash = %s AND expires_at > %s AND enabled"""


def make_token(connection: psycopg.Connection[Any], login: str, name: str, now: datetime, days: int) -> str:
    """A new token of an enabled user; ended ones are swept. Raises UserError, also where the user has one of that name.

    One that goes on is never replaced: whatever uses it would stop working without a word.
    """
    if not _is_name(name):
        raise UserError("name", name, "must be 1 to 64 letters, digits, signs and single blanks between them")
    if not 1 <= days <= MOST_DAYS:
        raise UserError("days", str(days), f"must be 1 to {MOST_DAYS}")
    user = connection.execute("SELECT user_id, enabled FROM users WHERE login = %s", (login,)).fetchone()
    if user is None:
        raise UserError("login", login, "there is no such user")
    if not user[1]:
        raise UserError("login", login, "is disabled")
    token = f"streamco_{secrets.token_urlsafe(32)}"
    connection.execute("DELETE FROM api_tokens WHERE expires_at <= %s", (now,))
    made = connection.execute(
        "INSERT INTO api_tokens (token_hash, user_id, name, created_at, expires_at) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (user_id, name) DO NOTHING RETURNING name",
        (hash_token(token), user[0], name, now, now + timedelta(days=days)),
    ).fetchone()
    if made is None:
        raise UserError("name", name, f"{login} has a token of that name; end it first, or take another name")
    return token


def _is_name(name: str) -> bool:
    """One that can be told from every other one by looking: no blanks at its ends, no character that is not seen."""
    plain = unicodedata.normalize("NFKC", " ".join(name.split())) == name
    return plain and name.isprintable() and 1 <= len(name) <= _MOST_NAME


def end_token(connection: psycopg.Connection[Any], login: str, name: str) -> None:
    """End a token: from now on it opens nothing. Raises UserError where there is none."""
    row = connection.execute(
        "DELETE FROM api_tokens USING users WHERE users.user_id = api_tokens.user_id AND login = %s AND name = %s"
        " RETURNING name",
        (login, name),
    ).fetchone()
    if row is None:
        raise UserError("name", name, f"{login[:80]} has no token of that name")


def user_of_token(connection: psycopg.Connection[Any], token: str, now: datetime) -> User | None:
    """Whose token this is, if it has not ended and the user is still enabled."""
    row = connection.execute(_FIND, (hash_token(token), now)).fetchone()
    return User(*row) if row else None
