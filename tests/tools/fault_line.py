"""Processes of ours on real servers, that may be killed, stopped and kept at work: what the fault tests stand on.

FaultLine     one test's agents, router and stream workers: start… (once), keep (by the real keeper), kill, stop, wake
FaultServers  (fault_servers.py) servers that may be killed, too
Feeder        (feeder.py) produces legs at a steady rate, beside the test
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agi_client import SECRET
from fault_servers import FaultServers
from made_legs import Ended, Parties, insert_parties, write_journals
from store_views import StoreViews

from runtime.connections import ClickHouse, Kafka, Postgres
from sinks.audit.full.audit import AuditReport, audit
from sinks.audit.full.sources import AuditSettings
from streamco.embedded.temporary_users import as_user, values_of
from streamco.health import check_beat
from streamco.places import Places
from streamco.settings import read_settings
from streamco.supervisor.component import Component
from streamco.supervisor.keeper import Keeper
from streams.coordination import WORDS

PATIENCE_SECONDS: Final = 90.0
ROOT: Final = Path(__file__).resolve().parents[2]
GROUPED: Final = ("billing", "cdrs", "live")  # the others read without a group
_PROGRAM: Final = """
import sys
from pathlib import Path
from streamco.logs import configure_logs
from {settings_module} import {settings}
from {module} import run
configure_logs("{component}")
run({settings}.model_validate_json(Path(sys.argv[1]).read_text()))
"""
PROGRAMS: Final = {
    "agent": _PROGRAM.format(
        settings_module="agent.settings", settings="AgentSettings", module="agent.main", component="node-agent"
    ),
    "router": _PROGRAM.format(
        settings_module="router.settings", settings="RouterSettings", module="router.server.main", component="router"
    ),
    "streams": _PROGRAM.format(
        settings_module="streams.settings", settings="StreamsSettings", module="streams.worker", component="streams"
    ),
}


class FaultLine(StoreViews):
    """`reach`: other addresses for the stream workers (a proxy's), by name of the store.

    `must_live`: a process that has ended, and was not killed here, fails whatever is waited for.
    """

    def __init__(
        self, directory: Path, postgres: Postgres, kafka: Kafka, clickhouse: ClickHouse, *, must_live: bool = True
    ) -> None:
        super().__init__(postgres, kafka, clickhouse)
        self.directory = directory
        self.reach: dict[str, tuple[str, int]] = {}
        self.environments: dict[str, dict[str, str]] = {}  # of processes by name, beside ours
        self.kills = 0
        self._must_live = must_live
        self._places = Places(read_settings({"STREAMCO_HOME": str(directory / "home")}))
        self._places.make()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: set[str] = set()
        # Workers that have not come to work yet: role, options, where their log begins.
        self._starting: dict[str, tuple[str, dict[str, Any], int]] = {}
        self._keepers: dict[str, Keeper] = {}

    @cached_property
    def parties(self) -> Parties:
        """Companies, peers and accounts, made at the first use."""
        return insert_parties(self.dsn)

    def close(self) -> None:
        """End every process, however it is."""
        for process in self._processes.values():
            process.kill()  # a stopped one too
            process.wait()
        for keeper in self._keepers.values():
            keeper.stop()

    # Processes

    def start_agent(self, directory: Path, node: str = "sim1", ami_port: int = 9, **options: Any) -> None:
        """The agent of a node whose directory this is: agent-NODE. By default no AMI listens: it tails the journal."""
        name = f"agent-{node}"
        values = {
            "node": node,
            "directory": str(directory),
            "kafka": values_of(as_user(self.kafka, "agent")),
            "postgres": {"dsn": self.dsn},
            "ami_port": ami_port,
            "ami_secret": "right-secret",
            "heartbeat_seconds": 0.3,
            "ami_retry_seconds": 0.1,
            "ami_retry_limit_seconds": 0.5,
            "retry_seconds": 0.2,
            "beat": str(self.beat_path(name)),
        }
        self._start(name, "agent", {**values, **options})

    def start_router(self, port: int, **options: Any) -> None:
        """A router; its snapshots and spool are in DIRECTORY/router."""
        directory = self.directory / "router"
        directory.mkdir(exist_ok=True)
        values = {
            "kafka": values_of(as_user(self.kafka, "router")),
            "snapshot": {"postgres": {"dsn": self.dsn}, "directory": str(directory / "snapshot")},
            "port": port,
            "spool": str(directory / "spool.sqlite"),
            "beat": str(self.beat_path("router")),
            "agi_secret": SECRET,
            "sessions": str(directory / "sessions"),
        }
        self._start("router", "router", {**values, **options})

    def start_worker(self, role: str, **options: Any) -> None:
        """The one stream worker of a role, by its name."""
        self.start(role, role, **options)

    def start(self, name: str, role: str, **options: Any) -> None:
        """Start a stream worker once; nobody starts it again, unless it never comes to work (`until`)."""
        log_path = self._places.log(name)
        if role in GROUPED:
            self._starting[name] = (role, options, log_path.stat().st_size if log_path.exists() else 0)
        self._start(name, "streams", self._worker_values(name, role, options))

    def _worker_values(self, name: str, role: str, options: Mapping[str, Any]) -> dict[str, Any]:
        dsn, url = self.dsn, self.clickhouse.url
        if "postgres" in self.reach:
            host, port = self.reach["postgres"]
            login = urlsplit(dsn)
            dsn = login._replace(netloc=f"{login.username}:{login.password}@{host}:{port}").geturl()
        if "clickhouse" in self.reach:
            url = "http://{}:{}".format(*self.reach["clickhouse"])
        secret = self.clickhouse.password.get_secret_value()
        return {
            "role": role,
            "kafka": values_of(as_user(self.kafka, role)),
            "postgres": {"dsn": dsn},
            "clickhouse": {**self.clickhouse.model_dump(mode="json"), "password": secret, "url": url},
            "data_directory": str(self.directory / "faust" / name),
            "beat": str(self.beat_path(name)),
            **options,
        }

    def _command(self, name: str, program: str, values: Mapping[str, Any]) -> list[str]:
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(values))
        return [sys.executable, "-c", PROGRAMS[program], str(path)]

    def _start(self, name: str, program: str, values: Mapping[str, Any]) -> None:
        given = {**os.environ, **self.environments.get(name, {})}
        with self._places.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._command(name, program, values), stdout=log, stderr=log, cwd=ROOT, env=given
            )
        self._killed.discard(name)

    def keep(self, name: str, role: str, **options: Any) -> Keeper:
        """Have the product's own keeper start a worker, watch it, and start it again."""
        component = Component(
            name=name,
            address=None,
            healthy=lambda _pid: check_beat(self.beat_path(name), None),
            argv=tuple(self._command(name, "streams", self._worker_values(name, role, options))),
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
        """The process that this is now."""
        if name in self._processes:
            return self._processes[name].pid
        return self._keepers[name].status().pid

    def kill(self, name: str) -> None:
        """kill -9; one that was started here is gone when this returns."""
        assert not self._must_live or self.alive(name), self.tails()
        self.kills += 1
        if name in self._processes:
            self._killed.add(name)
            self._processes[name].kill()
            self._processes[name].wait()
        elif (pid := self.pid(name)) is not None:
            os.kill(pid, signal.SIGKILL)

    def may_write(self, name: str, most_bytes: int) -> None:
        """From now on the kernel lets this process write no file beyond that size."""
        pid = self._processes[name].pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))

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
            # Before a worker has begun, and when it has ended its loop already, nobody takes a signal.
            alone = name in self._starting or bool(self.said(name, "stream worker ends"))
            assert process.returncode in (0, 1, -9, *([-signal.SIGTERM] if alone else [])), (name, process.returncode)
        for keeper in self._keepers.values():
            keeper.stop()

    def beat_path(self, name: str) -> Path:
        """Where a process says that it works; its metrics are beside it, as .prom."""
        return self._places.beat(name)

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

    def _said_since(self, name: str, begins: int) -> bytes:
        with self._places.log(name).open("rb") as log:
            log.seek(begins)
            return log.read()

    def _start_again(self) -> None:
        """As the supervisor does with a worker that has ended because it would never come to work: where the broker
        names no broker in its first answer (on a busy machine it may just be fenced), aiokafka's coordinator dies.
        """
        for name, (role, options, begins) in list(self._starting.items()):
            said = self._said_since(name, begins)
            if WORDS.encode() in said and not self.alive(name):
                self.start(name, role, **options)
            elif (b"_on_partitions_assigned" in said and not self._must_live) or not self.alive(name):
                del self._starting[name]  # those that must live are started again whenever that happens

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

    def audit(self, journals: Mapping[str, Path], settle_seconds: float = 60) -> AuditReport:
        """All stores compared with these journals. Waits for what is in flight, and for workers that still come."""
        self.until(self._at_work)
        settings = AuditSettings(
            postgres=self.postgres, kafka=as_user(self.kafka, "cli"), clickhouse=self.clickhouse, journals=journals
        )
        return audit(settings, settle_seconds=settle_seconds)

    def _at_work(self) -> bool:
        """Has every worker of a group been given its partitions, or ended?"""
        for name, (_, _, begins) in self._starting.items():
            if b"_on_partitions_assigned" not in self._said_since(name, begins) and self.alive(name):
                return False
        return True

    def audit_of(self, ended: Sequence[Ended], settle_seconds: float = 60) -> AuditReport:
        """The same, with journals of these legs, written now."""
        return self.audit(write_journals(self.directory / "nodes", ended), settle_seconds)

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE_SECONDS, alive: Sequence[str] = ()) -> Any:
        """What `what` returns as soon as it is true. `alive`: workers that must not end meanwhile."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            self._start_again()
            assert time.monotonic() < deadline, self.tails()
            watched = self._processes.keys() - self._killed - self._starting.keys() if self._must_live else alive
            assert all(self.alive(name) for name in watched), self.tails()
            time.sleep(0.05)
        return found

    def tails(self) -> str:
        """The ends of the logs, for a failure's message."""
        logs = {name: self._places.log(name) for name in {*self._processes, *self._keepers}}
        return "\n".join(f"--- {name}: {path.read_text()[-4_000:]}" for name, path in logs.items() if path.exists())


class ServersLine(FaultLine):
    """A line on servers that may be killed, whose workers may end. `servers`: those."""

    def __init__(self, directory: Path, servers: FaultServers) -> None:
        super().__init__(directory, *servers.fresh(), must_live=False)
        self.servers = servers


def verdict(report: AuditReport) -> str:
    """The audit's word for a report's line."""
    return "equal" if report.ok else f"{report.differences_total} differences: {report.differences[:3]}"
