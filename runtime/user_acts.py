"""Who did what, in PostgreSQL: a row for each act of a person, written in the transaction of the act itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import psycopg

_MOST_NAME: Final = 64
_MOST_SUBJECT: Final = 256
_MOST_DETAIL: Final = 500
_WRITE: Final = """
INSERT INTO user_acts (person, via, origin, area, act, subject, detail) VALUES (%s, %s, %s, %s, %s, %s, %s)"""
_LIST: Final = """
SELECT at, person, via, origin, area, act, subject, detail FROM user_acts ORDER BY at DESC, act_id DESC LIMIT %s"""


class Person(NamedTuple):
    """Who acts. `origin`: the address that a page or the API is asked from; of a command, the system's account."""

    name: str
    via: Literal["page", "api", "command"]
    origin: str


class UserAct(NamedTuple):
    """A row, as people are shown it."""

    at: datetime
    person: str
    via: str
    origin: str
    area: str
    act: str
    subject: str
    detail: str


def write_act(
    connection: psycopg.Connection[Any], person: Person, area: str, act: str, subject: str, detail: str = ""
) -> None:
    """Write that a person has done something, in the caller's transaction. Texts are shortened to what is kept."""
    name, origin = person.name[:_MOST_NAME] or "unknown", person.origin[:_MOST_NAME] or "unknown"
    values = (name, person.via, origin, area, act, subject[:_MOST_SUBJECT], detail[:_MOST_DETAIL])
    connection.execute(_WRITE, values)


def list_acts(connection: psycopg.Connection[Any], limit: int) -> Sequence[UserAct]:
    """What was done, the newest first."""
    return [UserAct(*row) for row in connection.execute(_LIST, (limit,)).fetchall()]
