"""Roles of PostgreSQL: made, given their passwords and the rights of schemas/postgres_roles.py, at every start.

    take_over      embedded only: the cluster's superuser makes the owner, and gives it all that was its own before
    make_roles     by whoever may make roles: the superuser of the embedded cluster, the owner elsewhere
    grant_rights   by the owner, after the migrations: what the table says, and nothing else is left

Each may be repeated, and run at the same time as another one: they hold the lock of migrations. Passwords are never
sent: what is stored, their SCRAM verifier, is made here.
"""

from collections.abc import Mapping
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from runtime.connections import Postgres
from runtime.migrations import MigrationError, locked
from schemas.postgres_roles import FUNCTIONS, OWNER, RELATIONS, ROLES, TEMPORARY, Role, role_name

Connection = psycopg.Connection[Any]
_CONNECT_SECONDS: Final = 5
_MOST_NAME_BYTES: Final = 63  # PostgreSQL cuts what is longer
_ATTRIBUTES: Final = sql.SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT")
_RIGHTS_TOO_MANY: Final = """
    SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = %s
"""
_NOT_OF: Final = """
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relowner <> to_regrole(%(owner)s)
      AND relkind IN ('r', 'p', 'v', 'S')
      -- a sequence of a column goes with its table
      AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i')))
    UNION ALL
    SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner <> to_regrole(%(owner)s)
"""
_MAKE_LARGE_OBJECTS: Final = "lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)"
_MEMBER_OF: Final = (
    "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = to_regrole(quote_ident(%s)) LIMIT 1"
)
_RELATIONS: Final = """
    SELECT relname, oid::regclass::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relowner = current_user::regrole AND relkind IN ('r', 'p', 'v', 'S')
"""
_ROUTINES: Final = """
    SELECT proname, oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
"""


def take_over(superuser: Postgres, password: SecretStr) -> None:
    """Make the owner of a cluster of ours, no superuser, and have it own the database and what is in it.

    Nobody else may connect to any database here. Raises MigrationError, psycopg.Error.
    """
    with locked(superuser) as connection:
        database = _database(connection)
        owner = role_name(database, OWNER)
        with connection.transaction():
            if _missing(connection, owner):
                _run(
                    connection,
                    "CREATE ROLE {} {} PASSWORD {}",
                    _name(owner),
                    _ATTRIBUTES,
                    _verifier(connection, owner, password),
                )
            _run(connection, "ALTER DATABASE {} OWNER TO {}", _name(database), _name(owner))
            for kind, name in connection.execute(_NOT_OF, {"owner": owner}).fetchall():
                _run(connection, "ALTER {} {} OWNER TO {}", _own_text(kind), _own_text(name), _name(owner))
            for (other,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
                _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", _name(other))
            # Large objects are of no table, and nobody's here: who may make them could fill the disk.
            _run(connection, "REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC", _own_text(_MAKE_LARGE_OBJECTS))
        _have_password(connection, superuser, owner, password)


def make_roles(maker: Postgres, passwords: Mapping[Role, SecretStr]) -> list[str]:
    """Make the roles that are not there, and see to it that each has its password and may connect; those made now.

    Raises MigrationError with what to do where `maker` may not make roles; psycopg.Error.
    """
    made = []
    with locked(maker) as connection:
        database = _database(connection)
        for room in ROLES:
            role = role_name(database, room)
            try:
                if _missing(connection, role):
                    verifier = _verifier(connection, role, passwords[room])
                    _run(connection, "CREATE ROLE {} {} PASSWORD {}", _name(role), _ATTRIBUTES, verifier)
                    made.append(role)
                _refuse_powers(connection, role)
                rights = sql.SQL("CONNECT, TEMPORARY" if room in TEMPORARY else "CONNECT")
                _run(connection, "GRANT {} ON DATABASE {} TO {}", rights, _name(database), _name(role))
                if role not in made:
                    _have_password(connection, maker, role, passwords[room])
            except psycopg.errors.InsufficientPrivilege as error:
                raise MigrationError(
                    f"PostgreSQL's role {role}: {error.diag.message_primary}. The user of STREAMCO_POSTGRES_DSN must "
                    "own the database and be allowed to make roles: ALTER ROLE … CREATEROLE"
                ) from error
    return made


def grant_rights(owner: Postgres) -> None:
    """Give each role the rights of its row, and take away any other. Raises MigrationError, psycopg.Error."""
    with locked(owner) as connection, connection.transaction():
        database = _database(connection)
        roles: dict[Role, sql.Identifier] = {room: _name(role_name(database, room)) for room in ROLES}
        everybody = sql.SQL(", ").join([sql.SQL("PUBLIC"), *roles.values()])
        _run(connection, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC")
        _run(connection, "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", _name(database))
        _run(connection, "REVOKE CREATE ON DATABASE {} FROM {}", _name(database), everybody)
        for room in (room for room in ROLES if room not in TEMPORARY):
            _run(connection, "REVOKE TEMPORARY ON DATABASE {} FROM {}", _name(database), roles[room])
        for name, grantee in (
            ("public", sql.SQL("PUBLIC")),
            *((role_name(database, room), roles[room]) for room in ROLES),
        ):
            row = connection.execute("SELECT has_schema_privilege(%s, 'public', 'CREATE')", (name,)).fetchone()
            if row is not None and row[0]:
                _run(connection, "REVOKE CREATE ON SCHEMA public FROM {}", grantee)
        _run(connection, "GRANT USAGE ON SCHEMA public TO {}", sql.SQL(", ").join(roles.values()))
        for name, text in connection.execute(_RELATIONS).fetchall():
            _run(connection, "REVOKE ALL ON {} FROM {}", _own_text(text), everybody)
            for room, rights in RELATIONS.get(name, {}).items():
                _run(connection, "GRANT {} ON {} TO {}", _own_text(rights), _own_text(text), roles[room])
        for name, text in connection.execute(_ROUTINES).fetchall():
            _run(connection, "REVOKE ALL ON ROUTINE {} FROM {}", _own_text(text), everybody)
            for room in sorted(FUNCTIONS.get(name, ())):
                _run(connection, "GRANT EXECUTE ON ROUTINE {} TO {}", _own_text(text), roles[room])


def _refuse_powers(connection: Connection, role: str) -> None:
    row = connection.execute(_RIGHTS_TOO_MANY, (role,)).fetchone()
    if row is None or row[0]:
        raise MigrationError(
            f"PostgreSQL's role {role} may do more than read and write: DROP ROLE {role}, and start again"
        )
    if (row := connection.execute(_MEMBER_OF, (role,)).fetchone()) is not None:
        raise MigrationError(
            f"PostgreSQL's role {role} is a member of {row[0]}, and may do what that may: REVOKE {row[0]} FROM {role},"
            " and start again"
        )


def _have_password(connection: Connection, server: Postgres, role: str, password: SecretStr) -> None:
    """Try it; where it is refused it becomes the role's. (It is changed only where it has to be.)"""
    conninfo = make_conninfo(server.dsn.get_secret_value(), user=role, password=password.get_secret_value())
    try:
        psycopg.connect(conninfo, connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError:
        _run(connection, "ALTER ROLE {} PASSWORD {}", _name(role), _verifier(connection, role, password))


def _verifier(connection: Connection, role: str, password: SecretStr) -> sql.Literal:
    encrypted = connection.pgconn.encrypt_password(
        password.get_secret_value().encode(), role.encode(), b"scram-sha-256"
    )
    return sql.Literal(encrypted.decode())


def _database(connection: Connection) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    name = str(row[0]) if row else ""
    longest = max((*ROLES, OWNER), key=len)
    if len(role_name(name, longest).encode()) > _MOST_NAME_BYTES:
        raise MigrationError(
            f"database {name}: its name must leave room for the roles, such as {role_name('…', longest)}"
        )
    return name


def _missing(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None


def _name(name: str) -> sql.Identifier:
    return sql.Identifier(name)


def _own_text(text: str) -> sql.SQL:
    """A right of the table, or a name that PostgreSQL itself has quoted."""
    own: Any = text
    return sql.SQL(own)


def _run(connection: Connection, statement: LiteralString, *parts: sql.Composable) -> None:
    connection.execute(sql.SQL(statement).format(*parts))
