"""Servers of the fault tests' own, which may be killed: PostgreSQL, Kafka and ClickHouse."""

import itertools
import subprocess
import time
from typing import Final
from urllib.parse import urlsplit

import psycopg
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from runtime.connections import ClickHouse, Kafka, Postgres
from runtime.migrations import migrate_clickhouse, migrate_postgres
from runtime.topics import make_topics
from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.kafka import kafka_server
from streamco.embedded.postgres import postgres_server
from streamco.embedded.server import Server
from streamco.embedded.settings import ClickHouseServer, KafkaServer, PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import make_users

_numbers: Final = itertools.count(1)


class FaultServers:
    """The three servers, and what stands in them at the beginning of a test."""

    def __init__(self, servers: TemporaryServers) -> None:
        self._servers = servers
        place = servers.directory
        postgres = PostgresServer(directory=place / "postgres", port=free_port(), password=SecretStr(password()))
        kafka = KafkaServer(
            directory=place / "kafka",
            port=free_port(),
            controller_port=free_port(),
            password=SecretStr(password()),
        )
        clickhouse = ClickHouseServer(directory=place / "clickhouse", port=free_port(), password=SecretStr(password()))
        self.postgres, self.kafka, self.clickhouse = postgres.connection, kafka.connection(), clickhouse.connection
        self._server: dict[str, Server] = {}
        self._process: dict[str, subprocess.Popen[bytes]] = {}
        for server in (postgres_server(postgres), kafka_server(kafka), clickhouse_server(clickhouse)):
            self._server[server.name] = server
            self.start(server.name)
        make_users(self.kafka)
        self._template = self._url("template")
        self._administer('CREATE DATABASE "template"')
        migrate_postgres(Postgres(dsn=SecretStr(self._template)))

    def start(self, name: str) -> None:
        """Start one, if it does not run; returns when it is healthy."""
        if name not in self._process or self._process[name].poll() is not None:
            self._process[name] = self._servers.start(self._server[name])

    def kill(self, name: str) -> None:
        """kill -9."""
        self._process[name].kill()
        self._process[name].wait()

    def fresh(self) -> tuple[Postgres, Kafka, ClickHouse]:
        """Everything up, and an empty database, empty topics, an empty ClickHouse database."""
        for name in self._server:
            self.start(name)
        name = f"fault_{next(_numbers)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "template"')
        self._make_topics()
        postgres = Postgres(dsn=SecretStr(self._url(name)))
        clickhouse = self.clickhouse.model_copy(update={"database": name})
        migrate_clickhouse(postgres, clickhouse)
        return postgres, self.kafka, clickhouse

    def _url(self, database: str) -> str:
        return urlsplit(self.postgres.dsn.get_secret_value())._replace(path=f"/{database}").geturl()

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _make_topics(self) -> None:
        admin = KafkaAdminClient(**self.kafka.client())
        try:
            for group in list(admin.list_groups()):
                admin.delete_groups([group["group_id"] if isinstance(group, dict) else group[0]])
            deadline = time.monotonic() + 30
            asked: set[str] = set()
            while left := {name for name in admin.list_topics() if not name.startswith("__")}:
                assert time.monotonic() < deadline, left
                if left - asked:
                    admin.delete_topics(sorted(left - asked))
                    asked |= left
                time.sleep(0.05)
        finally:
            admin.close()
        make_topics(self.kafka)
