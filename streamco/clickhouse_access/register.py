"""The analysts' logins of a home: one file for us alone, passwords as scrypt hashes. The owner of
ClickHouse reads it.

Passwords are made here, never chosen: each has 256 random bits. One process writes at a time, and replaces the file
whole.
"""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

FILE: Final = "analysts.json"
MOST: Final = 1_000
NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
_HASH: Final = re.compile(r"scrypt\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=")
_COST: Final = {"n": 1 << 14, "r": 8, "p": 1}
_SALT_BYTES: Final = 16
_LONGEST_PASSWORD: Final = 1024


class RegisterError(Exception):
    """A login cannot be made or changed, or the file not be used. The text is for the user."""


@dataclass(frozen=True)
class Analyst:
    """A person's login. `hash`: of the password, with its salt."""

    login: str
    hash: str
    created_at: str
    enabled: bool = True


def hash_password(password: str) -> str:
    """`scrypt$SALT$HASH` of a password."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(_scrypt(password, salt)).decode()}"


def matches(password: str, hashed: str) -> bool:
    """Is this the password of a hash that `hash_password` made? Takes equally long either way: about 50 ms."""
    _, salt, digest = hashed.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode()[:_LONGEST_PASSWORD], salt=salt, dklen=32, **_COST)


def _analyst(**read: object) -> Analyst:
    """One of the file. Raises TypeError, ValueError; a hash is not shown."""
    one = Analyst(**read)  # type: ignore[arg-type]
    if not isinstance(one.login, str) or not NAME.fullmatch(one.login):
        raise ValueError(f"login {str(one.login)[:64]!r}: must be of the form ^{NAME.pattern}$")
    if not isinstance(one.hash, str) or not _HASH.fullmatch(one.hash):
        raise ValueError(f"login {one.login!r}: hash: must be of the form scrypt$SALT$HASH")
    if not isinstance(one.enabled, bool) or not isinstance(one.created_at, str):
        raise ValueError(f"login {one.login!r}: enabled must be true or false, created_at a text")
    return one


class Register:
    """The file in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def read(self) -> dict[str, Analyst]:
        """Every login by its name. Raises RegisterError when the file is not ours alone, or no register."""
        try:
            mode = self.path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise RegisterError(f"{self.path}: must be a file")
            if mode & 0o077:
                raise RegisterError(f"{self.path}: others may read it; make it 0600")
            text = self.path.read_text()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RegisterError(f"{self.path}: {error.strerror}") from error
        try:
            return {one["login"]: _analyst(**one) for one in json.loads(text)["analysts"]}
        except (ValueError, TypeError, KeyError) as error:
            raise RegisterError(f"{self.path}: is no register of analysts ({error})") from error

    def add(self, login: str, created_at: str, taken: frozenset[str]) -> str:
        """Make a login; its password, which is kept nowhere. `taken`: logins of our processes. Raises RegisterError."""
        if not NAME.fullmatch(login):
            raise RegisterError(f"login {login[:64]!r}: must be of the form ^{NAME.pattern}$")
        password = secrets.token_urlsafe(32)

        def change(known: Mapping[str, Analyst]) -> Mapping[str, Analyst]:
            if login in taken:
                raise RegisterError(f"login {login!r}: must not be a name of Streamco's own")
            if login in known:
                raise RegisterError(f"login {login!r}: there is one already")
            if len(known) >= MOST:
                raise RegisterError(f"login {login!r}: there are {MOST} logins already")
            return {**known, login: Analyst(login, hash_password(password), created_at)}

        self._change(change)
        return password

    def renew(self, login: str) -> str:
        """A new password for a login; the old one ends. Raises RegisterError."""
        password = secrets.token_urlsafe(32)
        self._replace(login, lambda one: replace(one, hash=hash_password(password)))
        return password

    def enable(self, login: str, enabled: bool) -> None:
        """Let a login in, or not, from the next query on. Raises RegisterError."""
        self._replace(login, lambda one: replace(one, enabled=enabled))

    def remove(self, login: str) -> None:
        """Forget a login. Raises RegisterError."""
        self._replace(login, lambda _: None)

    def _replace(self, login: str, changed: Callable[[Analyst], Analyst | None]) -> None:
        def change(known: Mapping[str, Analyst]) -> Mapping[str, Analyst]:
            if login not in known:
                raise RegisterError(f"login {login[:64]!r}: there is none of this name")
            rest = {name: one for name, one in known.items() if name != login}
            new = changed(known[login])
            return rest if new is None else {**rest, login: new}

        self._change(change)

    def _change(self, change: Callable[[Mapping[str, Analyst]], Mapping[str, Analyst]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with os.fdopen(lock, "w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                analysts = sorted(change(self.read()).values(), key=lambda one: one.login)
                part = self.path.with_suffix(".part")
                made = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                with os.fdopen(made, "w") as fresh:
                    json.dump({"analysts": [asdict(one) for one in analysts]}, fresh)
                    fresh.flush()
                    os.fsync(fresh.fileno())
                part.replace(self.path)
        except OSError as error:
            raise RegisterError(f"{self.path}: {error.strerror}") from error
