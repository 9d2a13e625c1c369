"""The rules of rights.py as SQL for a ClickHouse server: roles, settings profiles, quotas; users of a role. Pure.

What the SQL does not grant, the server refuses: table functions that reach out of it need privileges on sources (FILE,
URL, REMOTE, S3, …), which are granted to nobody here.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from streamco.clickhouse_access.rights import KINDS, Rights

_HOUR: Final = "FOR INTERVAL 1 hour"


def quoted(name: str) -> str:
    """A name in SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def grants(database: str) -> list[str]:
    """The statements that make every role of ours with its profile and quota. They can be run again."""
    return [statement for rights in KINDS for statement in _role(rights, database)]


def _role(rights: Rights, database: str) -> Iterator[str]:
    role = quoted(rights.role)
    yield f"CREATE SETTINGS PROFILE OR REPLACE {role} SETTINGS {', '.join(_profile(rights))}"
    yield f"CREATE ROLE OR REPLACE {role} SETTINGS PROFILE '{rights.role}'"
    privileges = ", ".join(rights.privileges)
    for table in ("*",) if rights.tables is None else sorted(map(quoted, rights.tables)):
        yield f"GRANT {privileges} ON {quoted(database)}.{table} TO {role}"
    for table in sorted(rights.system_tables):
        yield f"GRANT SELECT ON system.{quoted(table)} TO {role}"
    if rights.limits is not None:
        most = f"MAX queries = {rights.limits.hour_queries}, execution_time = {rights.limits.hour_seconds}"
        yield f"CREATE QUOTA OR REPLACE {role} KEYED BY user_name {_HOUR} {most} TO {role}"


def _profile(rights: Rights) -> Iterator[str]:
    """`readonly = 1` lets nothing be changed but what is named as changeable."""
    if not rights.read_only:
        yield "readonly = 0"
        return
    yield "readonly = 1"
    for name, value in rights.fixed:
        yield f"{name} = '{value}'"
    for name, most in rights.maxima.items():
        yield f"{name} = {most} MIN 1 MAX {most} CHANGEABLE_IN_READONLY"
    if rights.limits is not None:
        yield f"max_concurrent_queries_for_user = {rights.limits.concurrent_queries}"
    for name in sorted(rights.settings - rights.maxima.keys()):
        capped = f" MAX {rights.caps[name]}" if name in rights.caps else ""
        yield f"{name}{capped} CHANGEABLE_IN_READONLY"


def create_user(login: str, password: str, salt: str, rights: Rights) -> list[str]:
    """The statements that make a user of a role; the password is in them as a salted SHA-256 only."""
    digest = hashlib.sha256((password + salt).encode()).hexdigest()
    identified = f"IDENTIFIED WITH sha256_hash BY '{digest}' SALT '{salt}'"
    return [
        f"CREATE USER OR REPLACE {quoted(login)} {identified}",
        f"GRANT {quoted(rights.role)} TO {quoted(login)}",
        f"ALTER USER {quoted(login)} DEFAULT ROLE {quoted(rights.role)}",
    ]


def enable_user(login: str, enabled: bool) -> str:
    """The statement that lets a user in from everywhere, or from nowhere."""
    return f"ALTER USER {quoted(login)} HOST {'ANY' if enabled else 'NONE'}"


def drop_user(login: str) -> str:
    """The statement that removes a user."""
    return f"DROP USER IF EXISTS {quoted(login)}"
