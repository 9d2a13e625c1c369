"""PostgreSQL's roles: each may do what its row says and nothing else, tried on every table; made, mended, upgraded."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from runtime.connections import Postgres
from runtime.migrations import MigrationError, migrate_postgres, read_migrations
from runtime.postgres_roles import grant_rights, make_roles, take_over
from schemas.postgres_roles import DEFINERS, FUNCTIONS, OWNER, RELATIONS, ROLES, TEMPORARY, Role, role_name
from streamco.embedded.temporary import password

pytestmark = pytest.mark.servers

Connection = psycopg.Connection[tuple[Any, ...]]
DENIED = "42501"
RIGHT = re.compile(r"([A-Z]+)(?: \(([a-z0-9_, ]+)\))?")


class Cluster(NamedTuple):
    """A database with its roles, as the product has it."""

    superuser: Postgres
    passwords: dict[Role, SecretStr]
    owner_password: SecretStr

    @property
    def database(self) -> str:
        return str(conninfo_to_dict(self.superuser.dsn.get_secret_value())["dbname"])

    def of(self, room: str, database: str = "") -> Postgres:
        secret = self.owner_password if room == OWNER else self.passwords[room]  # type: ignore[index]
        user = role_name(self.database, room)
        dsn = self.superuser.dsn.get_secret_value()
        parts = {"user": user, "password": secret.get_secret_value(), "dbname": database or self.database}
        return Postgres(dsn=SecretStr(make_conninfo(dsn, **parts)))

    def prepare(self) -> list[str]:
        """What every start does."""
        take_over(self.superuser, self.owner_password)
        made = make_roles(self.superuser, self.passwords)
        migrate_postgres(self.of(OWNER))
        grant_rights(self.of(OWNER))
        return made


@contextmanager
def connected(postgres: Postgres) -> Iterator[Connection]:
    with psycopg.connect(postgres.dsn.get_secret_value(), autocommit=True) as connection:
        yield connection


@contextmanager
def database_of(server: str, name: str, template: str) -> Iterator[Cluster]:
    """A database that the superuser owns, as homes had it before there were roles."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        superuser = Postgres(dsn=SecretStr(make_conninfo(server, dbname=name)))
        try:
            yield Cluster(superuser, {room: SecretStr(password()) for room in ROLES}, SecretStr(password()))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            for room in (*ROLES, OWNER):
                connection.execute(f'DROP ROLE IF EXISTS "{role_name(name, room)}"'.encode())


@pytest.fixture(scope="module")
def cluster(postgres_server: str, postgres_template: str) -> Iterator[Cluster]:
    with database_of(postgres_server, f"roles_{os.getpid()}", postgres_template) as cluster:
        with connected(cluster.superuser) as connection:
            connection.execute("SELECT ledger_partition(now())")
        assert len(cluster.prepare()) == len(ROLES)
        yield cluster


def rights_of(row: str) -> tuple[set[str], set[str]]:
    """(rights to the table, columns that may be changed) of a row such as `SELECT, UPDATE (held)`."""
    rights, columns = set(), set()
    for right, named in RIGHT.findall(row):
        if named:
            columns |= set(named.split(", "))
        else:
            rights.add(right)
    return rights, columns


def relations(connection: Connection) -> dict[str, tuple[str, bool, list[str]]]:
    """Every table and view: its kind, whether it is a partition, its columns."""
    rows = connection.execute(
        "SELECT relname, relkind::text, relispartition, array_agg(attname::text) FROM pg_class"
        " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY 1, 2, 3"
    )
    return {name: (kind, partition, columns) for name, kind, partition, columns in rows.fetchall()}


def test_every_table_view_and_function_has_a_row(cluster: Cluster) -> None:
    with connected(cluster.superuser) as connection:
        found = {name for name, (_, partition, _) in relations(connection).items() if not partition}
        seen = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        assert found <= {name for (name,) in seen.fetchall()}
        functions = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        assert {name for (name,) in functions.fetchall()} == set(FUNCTIONS)
    assert found == set(RELATIONS)


def may(connection: Connection, statement: str) -> bool:
    """Is it let through? What it does is undone, and what else it runs into does not count."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate != DENIED
    return True


@pytest.mark.parametrize("room", ROLES)
def test_a_role_may_do_what_its_row_says_and_nothing_else(cluster: Cluster, room: Role) -> None:
    with connected(cluster.of(room)) as connection, connected(cluster.superuser) as administrator:
        for name, (kind, partition, columns) in relations(administrator).items():
            rights, changeable = rights_of("" if partition else RELATIONS[name].get(room, ""))
            tried = {"SELECT": may(connection, f'SELECT FROM "{name}" LIMIT 0')}
            if kind != "v":
                tried["INSERT"] = may(connection, f'INSERT INTO "{name}" DEFAULT VALUES')
                tried["DELETE"] = may(connection, f'DELETE FROM "{name}" WHERE false')
                tried["TRUNCATE"] = may(connection, f'TRUNCATE "{name}"')
                changed = {
                    one for one in columns if may(connection, f'UPDATE "{name}" SET "{one}" = DEFAULT WHERE false')
                }
                assert changed == (set(columns) if "UPDATE" in rights else changeable), (room, name)
            assert {right for right, allowed in tried.items() if allowed} == rights - {"UPDATE", "MAINTAIN"}, (
                room,
                name,
            )
            for right in ("REFERENCES", "TRIGGER", "MAINTAIN"):
                row = administrator.execute(
                    "SELECT has_table_privilege(%s, %s, %s)",
                    (role_name(cluster.database, room), f'public."{name}"', right),
                ).fetchone()
                assert row == ((right in rights),), (room, name, right)
        called = administrator.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND has_function_privilege(%s, oid, 'EXECUTE')",
            (role_name(cluster.database, room),),
        )
        assert {name for (name,) in called.fetchall()} == {name for name, rooms in FUNCTIONS.items() if room in rooms}


@pytest.mark.parametrize("room", ROLES)
def test_a_role_is_nothing_more(cluster: Cluster, room: Role) -> None:
    with connected(cluster.of(room)) as connection:
        row = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolcanlogin"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, True)
        assert connection.execute("SELECT FROM pg_auth_members WHERE member = current_user::regrole").fetchall() == []
        assert may(connection, "CREATE TEMPORARY TABLE mine (n int)") == (room in TEMPORARY)
        for statement in (
            "CREATE TABLE mine (n int)",
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE SCHEMA mine",
            "SELECT FROM pg_authid",
            "SELECT pg_read_file('PG_VERSION')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "ALTER TABLE accounts ADD mine int",
            "SET log_statement = 'all'",
            "SELECT lo_create(0)",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT lo_import('/etc/hostname')",
            f'SET ROLE "{role_name(cluster.database, OWNER)}"',
            f"ALTER ROLE \"{role_name(cluster.database, OWNER)}\" PASSWORD 'x'",
        ):
            assert not may(connection, statement), statement
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(cluster.of(room, "postgres").dsn.get_secret_value()).close()


def test_the_owner_is_no_superuser_and_owns_all_of_it(cluster: Cluster) -> None:
    with connected(cluster.of(OWNER)) as connection:
        row = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        assert row == (False,)
        others = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relowner <> current_user::regrole"
            " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND proowner <> current_user::regrole"
        )
        assert others.fetchall() == []
        assert not may(connection, "SELECT pg_read_file('PG_VERSION')")
        connection.execute("CREATE FUNCTION made_later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        try:
            row = connection.execute("SELECT has_function_privilege('public', 'made_later()', 'EXECUTE')").fetchone()
            assert row == (False,)
        finally:
            connection.execute("DROP FUNCTION made_later()")


def test_functions_that_act_as_the_owner_look_where_they_should(cluster: Cluster) -> None:
    with connected(cluster.superuser) as connection:
        definers = connection.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        ).fetchall()
    assert {name for name, _ in definers} == DEFINERS
    assert {tuple(config) for _, config in definers} == {("search_path=public, pg_temp",)}


def test_a_temporary_table_does_not_come_before_the_ledger(cluster: Cluster) -> None:
    with connected(cluster.of("cli")) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "CREATE TEMPORARY TABLE ledger_entries (occurred_at timestamptz) PARTITION BY RANGE (occurred_at)"
        )
        row = connection.execute("SELECT ledger_partition('2031-05-07')").fetchone()
        assert row is not None
        kept = connection.execute(
            "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = %s", (row[0],)
        ).fetchall()
        assert kept == [("public",)]


def test_what_a_role_may_not_do_itself_its_functions_and_triggers_do(cluster: Cluster) -> None:
    with connected(cluster.of("streams")) as connection, connection.transaction(force_rollback=True):
        row = connection.execute("SELECT ledger_partition(%s)", (datetime(2032, 1, 1, tzinfo=UTC),)).fetchone()
        assert row == ("ledger_entries_203201",)
        connection.execute(
            "INSERT INTO ledger_entries (reference, account_id, occurred_at, kind, contra_account_id, amount)"
            " SELECT 'x', min(account_id), '2032-01-02', 'leg', max(account_id), 0 FROM accounts"
        )
    with connected(cluster.of("auditor")) as connection:
        connection.execute("SELECT summarize_ledger()")
    with connected(cluster.of("cli")) as connection, connection.transaction(force_rollback=True):
        generation = "SELECT generation FROM configuration_generation"
        before = connection.execute(generation).fetchone()
        connection.execute("INSERT INTO companies (name) VALUES ('Roles')")
        connection.execute(
            "INSERT INTO accounts (name, company_id, kind, currency)"
            " SELECT 'Roles', company_id, 'customer', 'USD' FROM companies WHERE name = 'Roles'"
        )
        after = connection.execute(generation).fetchone()
        assert before is not None
        assert after is not None
        assert after[0] > before[0]
        balance = connection.execute(
            "SELECT balance FROM account_balances JOIN accounts USING (account_id) WHERE name = 'Roles'"
        ).fetchone()
        assert balance == (0,)


def test_a_start_takes_away_what_was_granted_besides_and_changes_nothing_else(cluster: Cluster) -> None:
    acls = (
        "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT oid::regprocedure::text, proacl::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname = 'public'"
        " UNION ALL SELECT datname, datacl::text FROM pg_database WHERE datname = current_database() ORDER BY 1"
    )
    with connected(cluster.of(OWNER)) as connection:
        before = connection.execute(acls).fetchall()
        assert cluster.prepare() == []
        assert connection.execute(acls).fetchall() == before
        router = role_name(cluster.database, "router")
        connection.execute(f'GRANT ALL ON users, ledger_entries TO "{router}", PUBLIC'.encode())
        connection.execute(f'GRANT UPDATE (balance) ON account_balances TO "{router}"'.encode())
        connection.execute("GRANT EXECUTE ON FUNCTION release_holds TO PUBLIC")
        connection.execute(f'GRANT CREATE ON SCHEMA public TO "{router}", PUBLIC'.encode())
        connection.execute(f'GRANT CREATE, TEMPORARY ON DATABASE "{cluster.database}" TO "{router}"'.encode())
        assert connection.execute(acls).fetchall() != before
        cluster.prepare()
        assert connection.execute(acls).fetchall() == before


def test_two_starts_at_once_are_as_one(cluster: Cluster) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert [one.result() for one in [pool.submit(cluster.prepare) for _ in range(2)]] == [[], []]


def test_a_password_that_was_changed_is_given_again(cluster: Cluster) -> None:
    role = role_name(cluster.database, "auditor")
    with connected(cluster.superuser) as connection:
        stored = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE %s ORDER BY 1"
        before = connection.execute(stored, (f"{cluster.database}_%",)).fetchall()
        assert all(verifier.startswith("SCRAM-SHA-256$") for _, verifier in before)
        connection.execute(f"ALTER ROLE \"{role}\" PASSWORD 'somebody changed it'".encode())
        cluster.prepare()
        after = connection.execute(stored, (f"{cluster.database}_%",)).fetchall()
    assert [one for one in after if one not in before and one[0] != role] == []
    with connected(cluster.of("auditor")):
        pass


def test_a_role_with_powers_is_not_used(cluster: Cluster) -> None:
    role = role_name(cluster.database, "simulator")
    with connected(cluster.superuser) as connection:
        connection.execute(f'ALTER ROLE "{role}" CREATEDB'.encode())
        try:
            with pytest.raises(MigrationError, match=f"{role} may do more than read and write: DROP ROLE {role}"):
                cluster.prepare()
        finally:
            connection.execute(f'ALTER ROLE "{role}" NOCREATEDB'.encode())


def test_a_role_that_is_a_member_of_another_is_not_used(cluster: Cluster) -> None:
    role = role_name(cluster.database, "simulator")
    for other in ("pg_read_server_files", role_name(cluster.database, OWNER)):
        with connected(cluster.superuser) as connection:
            connection.execute(f'GRANT "{other}" TO "{role}"'.encode())
            try:
                with pytest.raises(
                    MigrationError, match=f"{role} is a member of {other}, .*: REVOKE {other} FROM {role}"
                ):
                    cluster.prepare()
            finally:
                connection.execute(f'REVOKE "{other}" FROM "{role}"'.encode())


def test_only_passwords_open_the_cluster(cluster: Cluster) -> None:
    with connected(cluster.superuser) as connection:
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        addresses = connection.execute(
            "SELECT DISTINCT address FROM pg_hba_file_rules WHERE type <> 'local'"
        ).fetchall()
        listening = (
            connection.execute("SHOW listen_addresses").fetchone(),
            connection.execute("SHOW unix_socket_directories").fetchone(),
        )
    assert rules == [("scram-sha-256",)]
    assert {address for (address,) in addresses} == {"127.0.0.1", "::1"}
    assert listening == (("127.0.0.1",), ("",))


@pytest.fixture
def elsewhere(postgres_server: str) -> Iterator[Cluster]:
    """A database on a server that is not ours: its owner may make roles, and is no superuser."""
    name = f"elsewhere_{os.getpid()}"
    with database_of(postgres_server, name, "template1") as cluster:
        owner = role_name(name, OWNER)
        with connected(cluster.superuser) as connection:
            secret = cluster.owner_password.get_secret_value()
            connection.execute(f"CREATE ROLE \"{owner}\" LOGIN CREATEROLE PASSWORD '{secret}'".encode())
            connection.execute(f'ALTER DATABASE "{name}" OWNER TO "{owner}"'.encode())
        yield cluster


def test_the_owner_of_a_database_elsewhere_makes_the_roles(elsewhere: Cluster) -> None:
    owner = elsewhere.of(OWNER)
    for made in (len(ROLES), 0):
        assert len(make_roles(owner, elsewhere.passwords)) == made
        assert len(migrate_postgres(owner)) == (len(read_migrations("postgres")) if made else 0)
        grant_rights(owner)
    with connected(elsewhere.of("router")) as connection:
        assert may(connection, "SELECT FROM accounts")
        assert not may(connection, "SELECT FROM users")
        assert not may(connection, "UPDATE account_balances SET balance = DEFAULT WHERE false")


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(elsewhere: Cluster) -> None:
    with connected(elsewhere.superuser) as connection:
        connection.execute(f'ALTER ROLE "{role_name(elsewhere.database, OWNER)}" NOCREATEROLE'.encode())
    with pytest.raises(MigrationError, match=r"role elsewhere_\d+_router: .*must own the database .*CREATEROLE"):
        make_roles(elsewhere.of(OWNER), elsewhere.passwords)
