"""How settings are given besides in plain variables: secrets in files, and the address in a connection string."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from streamco.setting_types import PREFIX as PREFIX

FILE_SUFFIX: Final = "_FILE"
_MAX_FILE_BYTES: Final = 64 << 10
# Of a connection string: what is a user's and not the server's.
_OF_A_USER: Final = frozenset({"user", "password", "passfile", "sslcert", "sslkey", "sslpassword"})


class SettingsError(Exception):
    """Settings that cannot be used: one line for each, with the setting, its value and the rule."""


def with_files(given: dict[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """The variables, with the text of its file where a secret setting (`secrets`: their names) is in one.

    Raises SettingsError.
    """
    read = dict(given)
    for setting in (f"{PREFIX}{name.upper()}" for name in secrets):
        path = read.pop(f"{setting}{FILE_SUFFIX}", "")
        if not path:
            continue
        if read.get(setting):
            raise SettingsError(f"{setting}{FILE_SUFFIX}: must not be set beside {setting}")
        try:
            with Path(path).open("rb") as file:
                held = file.read(_MAX_FILE_BYTES + 1)
            read[setting] = held.decode().rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise SettingsError(f"{setting}{FILE_SUFFIX} {path[:200]!r}: {reason}") from error
        if not read[setting] or len(held) > _MAX_FILE_BYTES:
            raise SettingsError(f"{setting}{FILE_SUFFIX} {path[:200]!r}: must hold 1 to {_MAX_FILE_BYTES} bytes")
    return read


def postgres_address(address: str | None, dsn: str) -> str:
    """Where the user's PostgreSQL is, with its database, as every process is told: the address, else that of the DSN.

    No user and no password are in it. Raises SettingsError; what was given is not shown, since a DSN holds a password.
    """
    from psycopg import ProgrammingError  # here: most homes have no such PostgreSQL, and commands begin at once
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    name = f"{PREFIX}POSTGRES_{'DSN' if address is None else 'ADDRESS'}"
    try:
        parts = {part: str(value) for part, value in conninfo_to_dict(dsn if address is None else address).items()}
    except ProgrammingError:
        raise SettingsError(f"{name}: must be a libpq connection string or URL") from None  # it quotes it
    if address is not None and (found := sorted(parts.keys() & _OF_A_USER)):
        raise SettingsError(f"{name}: must not hold a {found[0]}: each process has a role of its own")
    parts.setdefault("dbname", parts.get("user", ""))
    if not parts["dbname"]:
        raise SettingsError(f"{name}: must name the database")
    return make_conninfo("", **{part: value for part, value in parts.items() if part not in _OF_A_USER})
