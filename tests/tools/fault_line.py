"""Servers that may be killed, and stream workers on them that may be killed, stopped and kept at work.

FaultServers   PostgreSQL, Kafka and ClickHouse of the fault tests' own: kill(name), start(name)
FaultLine      one test's database, topics and workers: start (once), keep (by the real keeper), kill, stop, wake
Feeder         produces legs at a steady rate, beside the test
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from made_legs import Ended, Parties, insert_parties, write_journals
from pydantic import SecretStr

from runtime.clickhouse import connect
from runtime.connections import ClickHouse, Kafka, Postgres
from runtime.migrations import migrate_clickhouse, migrate_postgres
from runtime.topics import make_topics
from schemas.events import DeadLetter, decode_event, encode_event
from schemas.frame import pack_frames, partition_of, unpack_frame
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS, Topic
from sinks.audit.full.audit import AuditReport, audit
from sinks.audit.full.sources import AuditSettings, read_topic
from streamco.embedded.clickhouse import clickhouse_server
from streamco.embedded.kafka import kafka_server
from streamco.embedded.postgres import postgres_server
from streamco.embedded.server import Server
from streamco.embedded.settings import ClickHouseServer, KafkaServer, PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import as_user, make_users, values_of
from streamco.health import check_beat
from streamco.places import Places
from streamco.settings import read_settings
from streamco.supervisor.component import Component
from streamco.supervisor.keeper import Keeper
from streams.coordination import WORDS

PATIENCE_SECONDS: Final = 90.0
ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = """
import sys
from pathlib import Path
from streamco.logs import configure_logs
from streams.settings import StreamsSettings
from streams.worker import run
configure_logs("streams")
run(StreamsSettings.model_validate_json(Path(sys.argv[1]).read_text()))
"""
AGENT: Final = """
import sys
from pathlib import Path
from streamco.logs import configure_logs
from agent.main import run
from agent.settings import AgentSettings
configure_logs("node-agent")
run(AgentSettings.model_validate_json(Path(sys.argv[1]).read_text()))
"""
_numbers = itertools.count(1)


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


class FaultLine:
    """One test's stores and workers. `reach`: other addresses for the workers (a proxy's), by name of the store."""

    def __init__(self, directory: Path, servers: FaultServers) -> None:
        self.directory, self.servers = directory, servers
        self.postgres, self.kafka, self.clickhouse = servers.fresh()
        self.dsn = self.postgres.dsn.get_secret_value()
        self.parties: Parties = insert_parties(self.dsn)
        self.reach: dict[str, tuple[str, int]] = {}
        self._places = Places(read_settings({"STREAMCO_HOME": str(directory / "home")}))
        self._places.make()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Those that have not come to work yet: role, options, where their log begins.
        self._starting: dict[str, tuple[str, dict[str, Any], int]] = {}
        self._keepers: dict[str, Keeper] = {}

    def close(self) -> None:
        """End every worker, however it is."""
        for process in self._processes.values():
            process.kill()  # a stopped one too
            process.wait()
        for keeper in self._keepers.values():
            keeper.stop()

    # Workers

    def settings(self, name: str, role: str, **options: Any) -> Path:
        """The settings of a worker, as a file."""
        dsn, url = self.dsn, self.clickhouse.url
        if "postgres" in self.reach:
            host, port = self.reach["postgres"]
            login = urlsplit(dsn)
            dsn = login._replace(netloc=f"{login.username}:{login.password}@{host}:{port}").geturl()
        if "clickhouse" in self.reach:
            url = "http://{}:{}".format(*self.reach["clickhouse"])
        secret = self.clickhouse.password.get_secret_value()
        values = {
            "role": role,
            "kafka": values_of(as_user(self.kafka, role)),
            "postgres": {"dsn": dsn},
            "clickhouse": {**self.clickhouse.model_dump(mode="json"), "password": secret, "url": url},
            "data_directory": str(self.directory / "faust" / name),
            "beat": str(self._places.beat(name)),
            **options,
        }
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(values))
        return path

    def start(self, name: str, role: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a worker once; nobody starts it again, unless it never comes to work (`until`)."""
        log_path = self._places.log(name)
        self._starting[name] = (role, options, log_path.stat().st_size if log_path.exists() else 0)
        command = [sys.executable, "-c", PROGRAM, str(self.settings(name, role, **options))]
        with log_path.open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        return self._processes[name]

    def start_agent(self, node: str) -> subprocess.Popen[bytes]:
        """Start a node's agent on DIRECTORY/NODE. No AMI listens: it tails the journal."""
        (self.directory / node / "epoch").write_text("1795000000\n")
        values = {
            "node": node,
            "directory": str(self.directory / node),
            "kafka": values_of(as_user(self.kafka, "agent")),
            "postgres": {"dsn": self.dsn},
            "ami_port": free_port(),
            "ami_secret": "none",
            "ami_retry_seconds": 60,
            "ami_retry_limit_seconds": 60,
            "send_seconds": 2,
        }
        path = self.directory / f"agent-{node}.json"
        path.write_text(json.dumps(values))
        name = f"node-agent-{node}"
        with self._places.log(name).open("ab") as log:
            command = [sys.executable, "-c", AGENT, str(path)]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        return self._processes[name]

    def keep(self, name: str, role: str, **options: Any) -> Keeper:
        """Have the product's own keeper start a worker, watch it, and start it again."""
        component = Component(
            name=name,
            address=None,
            healthy=lambda _pid: check_beat(self._places.beat(name), None),
            argv=(sys.executable, "-c", PROGRAM, str(self.settings(name, role, **options))),
            environment={key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
            directory=ROOT,
            stop_seconds=5.0,
        )
        self._keepers[name] = Keeper(component, self._places, lambda _: True, lambda _: None)
        self._keepers[name].start()
        return self._keepers[name]

    def restarts(self) -> int:
        """How often keepers have started a worker again."""
        return sum(keeper.status().restarts for keeper in self._keepers.values())

    def pid(self, name: str) -> int | None:
        """The process that is this worker now."""
        if name in self._processes:
            return self._processes[name].pid
        return self._keepers[name].status().pid

    def kill(self, name: str) -> None:
        """kill -9, and gone when this returns."""
        if name in self._processes:
            self._processes[name].kill()
            self._processes[name].wait()
        elif (pid := self.pid(name)) is not None:
            os.kill(pid, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Any other one: SIGSTOP, SIGCONT, SIGTERM."""
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, number)

    def alive(self, name: str) -> bool:
        """Does a process that was started once still run?"""
        return name in self._processes and self._processes[name].poll() is None

    def returncode(self, name: str) -> int | None:
        """How a process that was started once has ended."""
        return self._processes[name].poll()

    def end(self) -> None:
        """SIGTERM to all, as the supervisor would: each must end well."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        for name, process in self._processes.items():
            process.wait(30)
            well = (0, 1, -9, *([-signal.SIGTERM] if name in self._starting else []))  # it could not take a signal yet
            assert process.returncode in well, (name, process.returncode)
        for keeper in self._keepers.values():
            keeper.stop()

    def working(self, *names: str) -> bool:
        """Have all of these a fresh beat with partitions?"""
        for name in names:
            try:
                beat = json.loads(self._places.beat(name).read_text())
            except (OSError, ValueError):
                return False
            if not beat["ok"] or beat["detail"] == "0 partitions" or time.time() - beat["at"] > 3:
                return False
        return True

    def _start_again(self) -> None:
        """As the supervisor does with a worker that has ended because it would never come to work: where the broker
        names no broker in its first answer (on a busy machine it may just be fenced), aiokafka's coordinator dies.
        """
        for name, (role, options, begins) in list(self._starting.items()):
            with self._places.log(name).open("rb") as log:
                log.seek(begins)
                said = log.read()
            if WORDS.encode() in said and not self.alive(name):
                self.start(name, role, **options)
            elif b"_on_partitions_assigned" in said or not self.alive(name):
                del self._starting[name]

    def beat(self, name: str) -> dict[str, Any]:
        """A worker's last word."""
        return dict(json.loads(self._places.beat(name).read_text()))

    def metric(self, name: str, sample: str) -> float:
        """A sample of a worker's metrics, once it is there."""

        def found() -> list[str]:
            path = self._places.beat(name).with_suffix(".prom")
            lines = path.read_text().splitlines() if path.exists() else []
            return [line for line in lines if line.startswith(f"{sample} ")]

        return float(self.until(found)[0].rpartition(" ")[2])

    # What they did

    def log(self, name: str) -> list[dict[str, Any]]:
        """A worker's log, over all its lives."""
        lines = []
        for line in self._places.log(name).read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # a traceback of the interpreter itself
        return lines

    def said(self, name: str, word: str) -> list[dict[str, Any]]:
        """The lines of a worker's log with `word` in them."""
        return [line for line in self.log(name) if word in json.dumps(line)]

    def repeated(self, *names: str) -> int:
        """Legs that these workers gave to the ledger although they were posted."""
        return sum(line["legs"] for name in names for line in self.said(name, "legs that were posted before"))

    def count(self, statement: str) -> int:
        """A number of PostgreSQL."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(statement.encode()).fetchone()
            assert row is not None
            return int(row[0])

    def posted(self) -> int:
        """Entries of legs in the ledger."""
        return self.count("SELECT count(*) FROM ledger_entries WHERE kind = 'leg'")

    def ask(self, statement: str) -> int:
        """A number of ClickHouse."""
        with connect(self.clickhouse) as client:
            return int(client.query(statement).result_rows[0][0])

    def written(self) -> int:
        """Legs with a CDR."""
        return self.ask("SELECT count() FROM legs FINAL")

    def committed(self, role: str) -> dict[TopicPartition, int]:
        """What the group of a role has committed, as the broker knows it."""
        admin = KafkaAdminClient(**self.kafka.client())
        try:
            group = f"streamco-{role}"
            return {one: at.offset for one, at in admin.list_group_offsets([group])[group].items() if at.offset >= 0}
        finally:
            admin.close()

    def caught_up(self, role: str, topic: Topic) -> bool:
        """Has the group of a role committed all that is on a topic?"""
        partitions = [TopicPartition(topic.name, number) for number in range(self.kafka.partitions)]
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        try:
            ends = consumer.end_offsets(partitions)
        finally:
            consumer.close()
        committed = self.committed(role)
        return all(committed.get(one, 0) >= end for one, end in ends.items())

    def uncommitted(self) -> set[str]:
        """Legs in the ledger whose messages billing has not committed: what a kill now lets come again."""
        committed = self.committed("billing")
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        found: set[str] = set()
        try:
            partitions = [TopicPartition(RATED_LEGS.name, number) for number in range(self.kafka.partitions)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            for one in partitions:
                consumer.seek(one, committed.get(one, 0))
            while any(consumer.position(one) < end for one, end in ends.items()):
                for messages in consumer.poll(timeout_ms=300).values():
                    found |= {decode_event(raw).leg_id for one in messages for raw in unpack_frame(one.value)}
        finally:
            consumer.close()
        with psycopg.connect(self.dsn) as connection:
            posted = connection.execute("SELECT reference FROM ledger_entries WHERE kind = 'leg'").fetchall()
        return found & {leg_id for (leg_id,) in posted}

    def table(self, topic: Topic) -> dict[str, bytes]:
        """What a compacted topic comes to: the last value of each key, without those that were deleted."""
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        values: dict[str, bytes] = {}
        try:
            partitions = [TopicPartition(topic.name, number) for number in range(self.kafka.partitions)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            consumer.seek_to_beginning(*partitions)
            while any(consumer.position(one) < end for one, end in ends.items()):
                for messages in consumer.poll(timeout_ms=300).values():
                    for message in messages:
                        values.pop(message.key.decode(), None)
                        if message.value is not None:
                            values[message.key.decode()] = message.value
        finally:
            consumer.close()
        return values

    def letters(self) -> dict[str, str]:
        """State of each dead letter of the table."""
        with psycopg.connect(self.dsn) as connection:
            return dict(connection.execute("SELECT origin, state FROM dead_letters").fetchall())

    def letters_in_topic(self) -> set[str]:
        """Origins in the topic of dead letters."""
        return {one.origin for one in read_topic(self.kafka, DEAD_LETTERS) if isinstance(one, DeadLetter)}

    def audit(
        self, ended: Sequence[Ended], journals: dict[str, Path] | None = None, settle_seconds: float = 60
    ) -> AuditReport:
        """All stores compared, with journals written now unless they are there. Waits for what is in flight."""
        settings = AuditSettings(
            postgres=self.postgres,
            kafka=as_user(self.kafka, "cli"),
            clickhouse=self.clickhouse,
            journals=journals or write_journals(self.directory / "nodes", ended),
        )
        return audit(settings, settle_seconds=settle_seconds)

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE_SECONDS, alive: Sequence[str] = ()) -> Any:
        """What `what` returns as soon as it is true. `alive`: workers that must not end meanwhile."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            self._start_again()
            assert time.monotonic() < deadline, self.tails()
            assert all(self.alive(name) for name in alive), self.tails()
            time.sleep(0.05)
        return found

    def tails(self) -> str:
        """The ends of the logs, for a failure's message."""
        logs = {name: self._places.log(name) for name in {*self._processes, *self._keepers}}
        return "\n".join(f"--- {name}: {path.read_text()[-4_000:]}" for name, path in logs.items() if path.exists())


def call_messages(ended: Sequence[Ended], partitions: int, in_a_frame: int) -> list[tuple[int, bytes]]:
    """(partition, message) of `calls` for these legs, in their order within each partition."""
    waiting: dict[int, list[bytes]] = {}
    messages: list[tuple[int, bytes]] = []
    for leg in ended:
        partition = partition_of(leg.call_id, partitions)
        waiting.setdefault(partition, []).append(encode_event(leg))
        if len(waiting[partition]) >= in_a_frame:
            messages += [(partition, frame) for frame in pack_frames(waiting.pop(partition))]
    return messages + [(partition, frame) for partition, raws in waiting.items() for frame in pack_frames(raws)]


class Feeder:
    """Produces legs to `calls` over some seconds, in a thread. `finish` waits for the last, and raises its error."""

    def __init__(self, kafka: Kafka, ended: Sequence[Ended], seconds: float, in_a_frame: int = 10) -> None:
        self._kafka = kafka
        self._messages = call_messages(ended, kafka.partitions, in_a_frame)
        self._seconds = seconds
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="feeder", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            producer = KafkaProducer(**self._kafka.client(), acks="all", linger_ms=5)
            begun = time.monotonic()
            sent = []
            for number, (partition, message) in enumerate(self._messages):
                due = begun + self._seconds * number / len(self._messages)
                time.sleep(max(0.0, due - time.monotonic()))
                sent.append(producer.send(CALLS.name, value=message, partition=partition))
            producer.flush(60)
            for one in sent:
                one.get(1)
            producer.close()
        except BaseException as error:
            self._error = error

    @property
    def busy(self) -> bool:
        """Is there more to come?"""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Everything is in Kafka when this returns."""
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
