"""What commands and rooms are told of a test's database: where it is, and the password of their role, made there."""

from functools import cache

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from runtime.connections import Postgres
from runtime.postgres_roles import grant_rights, make_roles
from schemas.postgres_roles import ROLES, Role, role_name
from streamco.embedded.temporary import password


@cache
def _made(dsn: str) -> str:
    secret, postgres = password(), Postgres(dsn=SecretStr(dsn))
    try:
        make_roles(postgres, {room: SecretStr(secret) for room in ROLES})
        grant_rights(postgres)
    except psycopg.OperationalError:
        return secret  # a test of what is said when nobody answers
    return secret


def command_environment(dsn: str) -> dict[str, str]:
    """The variables for a command; `dsn` is of somebody who may make roles."""
    return {"STREAMCO_POSTGRES_DSN": dsn, "STREAMCO_POSTGRES_CLI_PASSWORD": _made(dsn)}


def as_room(dsn: str, room: Role) -> Postgres:
    """The same database, reached by a room's own role; `dsn` is of somebody who may make roles."""
    secret = _made(dsn)
    user = role_name(str(conninfo_to_dict(dsn)["dbname"]), room)
    return Postgres(dsn=SecretStr(make_conninfo(dsn, user=user, password=secret)))
