"""Who asks: our own processes by their passwords, analysts by the register; and what each login takes.

A password of ours is compared as it is. An analyst's is hashed once (about 50 ms); after that its keyed digest is
enough, until the register changes.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streamco.clickhouse_access.register import Analyst, Register, RegisterError, hash_password, matches
from streamco.clickhouse_access.rights import ANALYST, READER, WRITER, Rights
from streamco.embedded.front.wire import EngineError
from streamco.embedded.settings import ClickHouseServer

_MOST_VERIFIED: Final = 1_024
_HOUR_SECONDS: Final = 3_600.0


@dataclass(frozen=True)
class Login:
    """Who asks, and what they may do."""

    name: str
    rights: Rights


def unknown(name: str) -> EngineError:
    """The error of a login that is not known, has another password or is disabled: which of them is not said."""
    return EngineError(f"Code: 516. DB::Exception: {name[:64]}: Authentication failed. (AUTHENTICATION_FAILED)")


class Logins:
    """Every login of this server. Safe to use from every thread."""

    def __init__(self, settings: ClickHouseServer) -> None:
        self._own = (
            (Login(settings.user, WRITER), settings.password.get_secret_value()),
            (Login(settings.reader_user, READER), settings.reader_password.get_secret_value()),
        )
        # A few people at once leave half of the memory to our own processes.
        self._analyst = ANALYST.within(settings.memory_bytes // 4)
        self._register = Register(settings.directory)
        self._read_at: tuple[int, int, int] | None = None
        self._analysts: dict[str, Analyst] = {}
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, tuple[bytes, str]] = {}
        self._nobodys_hash = hash_password(secrets.token_urlsafe(32))

    def known(self, name: str, password: str) -> Login | None:
        """The login, if it needs no hashing: one of ours, or an analyst who has been verified. Does not wait."""
        found = None
        for login, right in self._own:
            same = hmac.compare_digest(name.encode(), login.name.encode())
            if same & hmac.compare_digest(password.encode(), right.encode()):
                found = login
        if found is not None:
            return found
        analyst = self._read().get(name)
        digest, hashed = self._verified.get(name, (b"", ""))
        same = hmac.compare_digest(digest, self._digest(password))
        return Login(name, self._analyst) if same and analyst is not None and self._may(analyst, hashed) else None

    def verify(self, name: str, password: str) -> Login:
        """The analyst of this password. Hashes it, whoever is named: call it from one thread. Raises EngineError."""
        analyst = self._read().get(name)
        hashed = self._nobodys_hash if analyst is None else analyst.hash
        if not matches(password, hashed) or analyst is None or not analyst.enabled:
            raise unknown(name)
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[name] = (self._digest(password), analyst.hash)
        return Login(name, self._analyst)

    def disable(self, name: str) -> None:
        """Let an analyst in no more. Raises RegisterError."""
        self._register.enable(name, enabled=False)

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode(), hashlib.sha256)

    @staticmethod
    def _may(analyst: Analyst, hashed: str) -> bool:
        return analyst.enabled and analyst.hash == hashed

    def _read(self) -> dict[str, Analyst]:
        """The register as it is now; nobody while it cannot be read."""
        try:
            status = self._register.path.stat()
            read_at = (status.st_mtime_ns, status.st_ino, status.st_size)
            if read_at != self._read_at:
                self._analysts, self._read_at = self._register.read(), read_at
        except (OSError, RegisterError):
            self._analysts, self._read_at = {}, None
        return self._analysts


@dataclass
class _Taken:
    """What a login has taken: queries that run, and those begun within this hour with their seconds."""

    running: int = 0
    hour_began_at: float = 0.0
    queries: int = 0
    seconds: float = 0.0


@dataclass
class Usage:
    """Keeps each login within its limits. Used from one thread; `clock` is monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    _taken: dict[str, _Taken] = field(default_factory=dict)

    def begin(self, login: Login) -> Callable[[], None]:
        """Count a query that begins; what is called at its end, once. Raises EngineError above a limit."""
        limits = login.rights.limits
        if limits is None:
            return lambda: None
        now = self.clock()
        taken = self._taken.setdefault(login.name, _Taken(hour_began_at=now))
        if now - taken.hour_began_at >= _HOUR_SECONDS:
            taken.hour_began_at, taken.queries, taken.seconds = now, 0, 0.0
        if taken.running >= limits.concurrent_queries:
            raise EngineError(
                f"Code: 202. DB::Exception: {login.name}: {limits.concurrent_queries} queries run already. "
                "(TOO_MANY_SIMULTANEOUS_QUERIES)"
            )
        for what, used, most in (
            ("queries", taken.queries, limits.hour_queries),
            ("seconds of queries", taken.seconds, limits.hour_seconds),
        ):
            if used >= most:
                left = round(taken.hour_began_at + _HOUR_SECONDS - now)
                raise EngineError(
                    f"Code: 201. DB::Exception: {login.name}: {most} {what} an hour are the maximum; "
                    f"a new hour begins in {left} s. (QUOTA_EXCEEDED)"
                )
        taken.running += 1
        taken.queries += 1

        def end() -> None:
            taken.running -= 1
            taken.seconds += self.clock() - now

        return end
