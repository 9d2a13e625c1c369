"""One connection and one transaction for a whole change of the world; the server's own errors in the user's words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from runtime.locks import WORLD
from runtime.user_acts import Person, write_act

Connection = psycopg.Connection[Any]

CONNECT_SECONDS = 10
LOCK_WAIT_SECONDS = 60


class WorldError(Exception):
    """`messages`: one per fault, each with the field or row, the value and the rule. Nothing was changed."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)


@contextmanager
def changing(dsn: str, *, whole_world: bool = False) -> Iterator[Connection]:
    """A connection in one transaction, committed at the end of the block, rolled back on any exception.

    `whole_world`: wait for whoever else changes the world. psycopg's errors come out as WorldError.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            connection.execute(f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'")
            with connection.transaction():
                if whole_world:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (WORLD,))
                yield connection
    except psycopg.errors.UndefinedTable as error:
        raise WorldError([f"the database has no tables yet ({primary(error)}): run the migrations first"]) from error
    except psycopg.errors.LockNotAvailable as error:
        raise WorldError([f"another change of the world has not ended within {LOCK_WAIT_SECONDS} s"]) from error
    except psycopg.OperationalError as error:
        raise WorldError([f"PostgreSQL does not answer: {str(error).strip()[:500]}"]) from error
    except UnicodeEncodeError as error:
        raise WorldError([f"{str(error.object)[:40]!r}: is not text that can be stored"]) from error
    except psycopg.Error as error:
        raise WorldError([f"PostgreSQL refuses: {primary(error)}"]) from error


def write_who(connection: Connection, by: Person | None, area: str, act: str, subject: str, detail: str) -> None:
    """Write whose act a change is, in its transaction; nothing where nobody is named."""
    if by is not None:
        write_act(connection, by, area, act, subject, detail)


def primary(error: psycopg.Error) -> str:
    """The first line of what the server said."""
    return error.diag.message_primary or str(error).strip()[:500]
