"""Users for page and API: read and changed by connections of their own, bounded in time."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
import structlog

from dashboards.access.login_limiter import LoginLimiter, Try
from dashboards.access.users import TooBusyError, UserError, check_login, fresh_password
from dashboards.kit.queries import SourceAwayError
from dashboards.topics.users.admin import (
    Ended,
    UserRow,
    change_password,
    change_role,
    create_user,
    disable_user,
    enable_user,
    list_users,
)
from runtime.postgres_pool import Connections
from runtime.user_acts import Person, UserAct, list_acts

_log = structlog.get_logger(__name__)
MOST_USERS: Final = 1_000
MOST_ACTS: Final = 200


class Shown(NamedTuple):
    """A login and its new password, which is told this once."""

    login: str
    password: str


@dataclass(frozen=True)
class UserState:
    """All that the page shows: MOST_USERS by login, the newest MOST_ACTS. `away`: why nothing is known, or empty."""

    users: Sequence[UserRow] = ()
    acts: Sequence[UserAct] = ()
    away: str = ""


class UserStore:
    """Safe to use from every thread. Each act raises UserError, and SourceAwayError where PostgreSQL is away."""

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], datetime],
        limiter: LoginLimiter,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened yet. `limiter`: that of the login."""
        self._connections = connections
        self._clock = clock
        self._limiter = limiter
        self._seconds = seconds

    def state(self) -> UserState:
        """Users and acts as they are now."""
        try:
            with self._connect(read_only=True) as connection:
                return UserState(list_users(connection, self._clock(), MOST_USERS), list_acts(connection, MOST_ACTS))
        except SourceAwayError as error:
            return UserState(away=str(error))

    def users(self) -> Sequence[UserRow]:
        """The users alone. Raises SourceAwayError."""
        with self._connect() as connection:
            return list_users(connection, self._clock(), MOST_USERS)

    def create(self, person: Person, login: str, role: str, company: str = "") -> Shown:
        """Add a user with a password made here."""
        password = fresh_password()
        with self._connect() as connection:
            return Shown(create_user(connection, person, login, role, password, company), password)

    def change_role(self, person: Person, login: str, role: str, company: str = "") -> None:
        """Give a user another role."""
        with self._connect() as connection:
            change_role(connection, person, login, role, company)

    def disable(self, person: Person, login: str) -> Ended:
        """Disable a user; what ended with that."""
        with self._connect() as connection:
            return disable_user(connection, person, login)

    def enable(self, person: Person, login: str) -> None:
        """Let a disabled user in again."""
        with self._connect() as connection:
            enable_user(connection, person, login)

    def renew_password(self, person: Person, login: str) -> Shown:
        """Give a user a new password made here; its sessions end."""
        password = fresh_password()
        with self._connect() as connection:
            change_password(connection, person, login, password)
        return Shown(login, password)

    def change_own_password(self, person: Person, now: str, new: str) -> None:
        """Give the person a new password, who says the present one; wrong ones are counted as at the login."""
        one = Try(person.name, person.origin, known=True)
        if wait := self._limiter.begin(one, self._seconds()):
            raise UserError("password", "", f"too many wrong tries; wait {wait} s")
        with self._connect() as connection:
            try:
                user = check_login(connection, person.name, now, known=True)
            except (TooBusyError, psycopg.Error) as error:
                self._limiter.undone(one)
                if isinstance(error, psycopg.Error):
                    raise
                raise UserError("password", "", "too many are being checked just now; try again in a moment") from error
            if user is None:
                raise UserError("password", "", "the one you have now is another")
            self._limiter.right(one)
            change_password(connection, person, person.name, new)

    @contextmanager
    def _connect(self, *, read_only: bool = False) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._connections.lent(read_only=read_only) as connection:
                yield connection
        except psycopg.Error as error:
            _log.warning("users cannot be read or changed", error=str(error)[:200])
            raise SourceAwayError("PostgreSQL does not answer: users are not known, and none was changed") from error
