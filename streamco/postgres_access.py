"""Who reaches PostgreSQL as whom: each room by its own role, migrations as the owner; the superuser makes the roles."""

from pydantic import SecretStr

from runtime.connections import Postgres
from schemas.postgres_roles import OWNER, ROLES, Role, role_name
from streamco.embedded.settings import DATABASE, LOOPBACK, ONLY_SCRAM, PostgresServer
from streamco.secret_store import required
from streamco.settings import Settings


def server_settings(settings: Settings) -> PostgresServer:
    """The embedded PostgreSQL."""
    password = required(settings.postgres_password, "postgres_password")
    return PostgresServer(directory=settings.home / "postgres", port=settings.postgres_port, password=password)


def postgres(settings: Settings, room: Role) -> Postgres:
    """How a room reaches PostgreSQL: by its own role, which may do what schemas/postgres_roles.py says."""
    return _postgres_as(settings, room)


def owner(settings: Settings) -> Postgres:
    """How migrations reach PostgreSQL, and nothing else: as who owns the tables. Raises SettingsError."""
    if not settings.postgres_elsewhere:
        return _postgres_as(settings, OWNER)
    return Postgres(dsn=required(settings.postgres_dsn, "postgres_dsn"))


def maker(settings: Settings) -> Postgres:
    """Who makes roles: the superuser of the embedded cluster; elsewhere the owner. Raises SettingsError."""
    return owner(settings) if settings.postgres_elsewhere else server_settings(settings).connection


def owner_password(settings: Settings) -> SecretStr:
    """Of the owner in the embedded cluster."""
    return _password_of(settings, OWNER)


def room_passwords(settings: Settings) -> dict[Role, SecretStr]:
    """The password of each room's role."""
    return {room: _password_of(settings, room) for room in ROLES}


def _password_of(settings: Settings, room: str) -> SecretStr:
    name = f"postgres_{room}_password"
    return required(getattr(settings, name), name)


def _postgres_as(settings: Settings, room: str) -> Postgres:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    ours = f"host={LOOPBACK} port={settings.postgres_port} dbname={DATABASE} {ONLY_SCRAM}"
    address = settings.postgres_address or ours
    user = role_name(str(conninfo_to_dict(address)["dbname"]), room)
    password = _password_of(settings, room).get_secret_value()
    return Postgres(dsn=SecretStr(make_conninfo(address, user=user, password=password)))
