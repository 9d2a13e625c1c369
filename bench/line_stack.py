"""Servers and processes of the line for a bench: a node's agent and the stream workers, as the product runs them."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import psycopg
from pydantic import SecretStr

from bench.figures import say
from bench.line_world import EPOCH, NODE, Parties, make_parties
from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from runtime.migrations import migrate_clickhouse, migrate_postgres
from runtime.topics import make_topics
from sinks.audit.full.sources import AuditSettings
from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.kafka import kafka_server
from streamco.embedded.postgres import postgres_server
from streamco.embedded.settings import ClickHouseServer, KafkaServer, PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import as_user, make_users, values_of


class LineStack:
    """PostgreSQL, Kafka and ClickHouse with the parties in them. Use as a context manager."""

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    parties: Parties

    def __init__(self) -> None:
        self._servers = TemporaryServers()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._before_xact = 0
        self.directory = self._servers.directory
        self.node_directory = self.directory / NODE
        self.journal = self.node_directory / "journal" / "Master.csv"

    def __enter__(self) -> Self:
        say("starting PostgreSQL, Kafka and ClickHouse")
        try:
            self._start_servers()
        except BaseException:
            self._servers.close()
            raise
        self.journal.parent.mkdir(parents=True)
        (self.node_directory / "epoch").write_text(f"{EPOCH}\n")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for process in self._running.values():
                process.terminate()
            for process in self._running.values():
                process.wait(60)
        finally:
            self._servers.close()

    def _start_servers(self) -> None:
        place = self.directory
        postgres = PostgresServer(directory=place / "postgres", port=free_port(), password=SecretStr(password()))
        self._servers.start(postgres_server(postgres))
        kafka = KafkaServer(
            directory=place / "kafka",
            port=free_port(),
            controller_port=free_port(),
            password=SecretStr(password()),
        )
        self._servers.start(kafka_server(kafka))
        clickhouse = ClickHouseServer(directory=place / "clickhouse", port=free_port(), password=SecretStr(password()))
        self._servers.start(clickhouse_server(clickhouse))
        self.postgres, self.kafka, self.clickhouse = postgres.connection, kafka.connection(), clickhouse.connection
        migrate_postgres(self.postgres)
        migrate_clickhouse(self.postgres, self.clickhouse)
        make_topics(self.kafka)
        make_users(self.kafka)
        self.parties = make_parties(self.dsn)

    @property
    def dsn(self) -> str:
        """PostgreSQL's."""
        return self.postgres.dsn.get_secret_value()

    @property
    def audit_settings(self) -> AuditSettings:
        """What the audit compares."""
        return AuditSettings(
            postgres=self.postgres,
            kafka=self.kafka,
            clickhouse=self.clickhouse,
            journals={NODE: self.journal.parent},
        )

    def start_streams(self, *names: str) -> None:
        """Start workers (ROLE, or ROLE-N for a further one of a role) and wait until each has its partitions."""
        secret = self.clickhouse.password.get_secret_value()
        for name in names:
            role, _, instance = name.partition("-")
            beat = self.directory / f"{name}.beat"
            values = {
                "role": role,
                "instance": int(instance or 0),
                "kafka": values_of(as_user(self.kafka, role)),
                "postgres": {"dsn": self.dsn},
                "clickhouse": {**self.clickhouse.model_dump(mode="json"), "password": secret},
                "data_directory": str(self.directory / "faust" / name),
                "beat": str(beat),
            }
            self._start("streams", name, values)
        self._await_beats(*names)

    def start_agent(self) -> None:
        """Start the node's agent. No AMI listens: it tails the journal, which is all that a bench wants of it."""
        values = {
            "node": NODE,
            "directory": str(self.node_directory),
            "kafka": values_of(as_user(self.kafka, "agent")),
            "postgres": {"dsn": self.dsn},
            "ami_port": free_port(),
            "ami_secret": "none",
            "ami_retry_seconds": 60,
            "ami_retry_limit_seconds": 60,
        }
        self._start("agent", "agent", values)

    def _start(self, kind: str, name: str, values: dict[str, Any]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.line_process", kind], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(values).encode())
        process.stdin.close()
        self._running[name] = process

    def _await_beats(self, *names: str) -> None:
        deadline = time.monotonic() + 90
        while not all((self.directory / f"{name}.beat").exists() for name in names):
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"no beat of {names}: {self.said()}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises RuntimeError when one of the processes has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended: {self.said()}")

    def said(self) -> str:
        """The ends of the processes' logs."""
        logs = {name: Path(self.directory / f"{name}.log") for name in self._running}
        return "\n".join(f"{name}: {path.read_text()[-1500:]}" for name, path in logs.items())

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each process so far."""
        import psutil

        found = {}
        for name, process in self._running.items():
            times = psutil.Process(process.pid).cpu_times()
            found[name] = round(times.user + times.system, 2)
        return found

    def memory_megabytes(self) -> dict[str, int]:
        """Resident memory of each of our processes now."""
        import psutil

        return {name: psutil.Process(one.pid).memory_info().rss >> 20 for name, one in self._running.items()}

    def legs_posted(self) -> int:
        """Entries of the bench's own legs in the ledger."""
        with psycopg.connect(self.dsn) as connection:
            # What was there before came in transactions before this one: the index of posting order finds the rest.
            row = connection.execute(
                "SELECT count(*) FROM ledger_entries WHERE posted_xact > %s", (self._before_xact,)
            ).fetchone()
            return int(row[0]) if row else 0

    def legs_written(self) -> int:
        """The bench's own legs with a CDR."""
        with connect(self.clickhouse) as client:
            found = client.query("SELECT uniqExact(leg_id) FROM legs WHERE node = {node:String}", {"node": NODE})
            return int(found.result_rows[0][0])

    def mark_past(self) -> None:
        """What is in the ledger now is not the bench's own."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
            self._before_xact = int(row[0]) if row else 0
