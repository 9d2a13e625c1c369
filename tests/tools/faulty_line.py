"""Agents and stream workers as processes on real servers, to be killed: what the fault tests stand on."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agi_client import SECRET

from runtime.connections import ClickHouse, Kafka, Postgres
from schemas.events import CallEnded, LegEnded
from schemas.topics import CALLS
from sinks.audit.full.audit import AuditReport, audit
from sinks.audit.full.sources import AuditSettings, read_topic
from streamco.embedded.temporary_users import as_user, values_of
from streams.coordination import WORDS

_AGENT: Final = """
import sys
from agent.main import run
from agent.settings import AgentSettings
from streamco.logs import configure_logs
configure_logs("node-agent")
run(AgentSettings.model_validate_json(sys.stdin.read()))
"""
_WORKER: Final = """
import sys
from streamco.logs import configure_logs
from streams.settings import StreamsSettings
from streams.worker import run
configure_logs("streams")
run(StreamsSettings.model_validate_json(sys.stdin.read()))
"""
_ROUTER: Final = """
import sys
from router.server.main import run
from router.settings import RouterSettings
from streamco.logs import configure_logs
configure_logs("router")
run(RouterSettings.model_validate_json(sys.stdin.read()))
"""
_WAIT_SECONDS: Final = 90.0


@dataclass
class FaultyLine:
    """`start_agent`, `start_worker`, `kill`, `until`; `close` at the end."""

    directory: Path
    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    kills: int = 0
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)  # of processes by name, beside ours

    def start_agent(self, directory: Path, node: str = "sim1", ami_port: int = 9, **options: Any) -> None:
        """The agent of a node whose directory this is."""
        values = {
            "node": node,
            "directory": str(directory),
            "ami_port": ami_port,
            "ami_secret": "right-secret",
            "heartbeat_seconds": 0.3,
            "ami_retry_seconds": 0.1,
            "ami_retry_limit_seconds": 0.5,
            "retry_seconds": 0.2,
            "beat": str(self.directory / f"{node}.beat"),
        }
        self._start(f"agent-{node}", _AGENT, {**values, **options})

    def start_worker(self, role: str, **options: Any) -> None:
        """A stream worker."""
        values = {
            "role": role,
            "clickhouse": {
                **self.clickhouse.model_dump(mode="json"),
                "password": self.clickhouse.password.get_secret_value(),
            },
            "data_directory": str(self.directory / "faust" / role),
            "beat": str(self.directory / f"{role}.beat"),
        }
        self._workers[role] = {**values, **options}
        self._start(role, _WORKER, self._workers[role])

    def start_router(self, port: int, **options: Any) -> None:
        """A router; its snapshots, spool and beat are in DIRECTORY/router."""
        directory = self.directory / "router"
        directory.mkdir(exist_ok=True)
        snapshot = {"postgres": {"dsn": self.postgres.dsn.get_secret_value()}, "directory": str(directory / "snapshot")}
        values = {"snapshot": snapshot, "port": port, "spool": str(directory / "spool.sqlite")}
        values |= {
            "beat": str(directory / "router.beat"),
            "agi_secret": SECRET,
            "sessions": str(directory / "sessions"),
        }
        self._start("router", _ROUTER, {**values, **options})

    def _start(self, name: str, program: str, values: Mapping[str, Any]) -> None:
        whole = {
            "kafka": values_of(as_user(self.kafka, name.partition("-")[0])),
            **({} if name == "router" else {"postgres": {"dsn": self.postgres.dsn.get_secret_value()}}),
            **values,
        }
        given = {**os.environ, **self.environments.get(name, {})}
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=log, stderr=log, env=given
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(whole).encode())
        process.stdin.close()
        self.running[name] = process

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.running.pop(name)
        assert process.poll() is None, self.said(name)
        process.kill()
        process.wait()
        self.kills += 1

    def may_write(self, name: str, most_bytes: int) -> None:
        """From now on the kernel lets this process write no file beyond that size."""
        pid = self.running[name].pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))

    def until(self, what: Callable[[], Any], seconds: float = _WAIT_SECONDS) -> Any:
        """Wait for it; a process that has died meanwhile fails the test, with what it said."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            self._keep_workers()
            dead = [name for name, process in self.running.items() if process.poll() is not None]
            assert not dead, self.said(dead[0])
            assert time.monotonic() < deadline, "".join(map(self.said, self.running))
            time.sleep(0.1)
        return found

    def said(self, name: str) -> str:
        """The last of what a process said."""
        return f"--- {name}: " + (self.directory / f"{name}.log").read_text(errors="replace")[-6_000:]

    def closings(self) -> list[LegEnded | CallEnded]:
        """All closing events on `calls`, repeats included."""
        return [event for event in read_topic(self.kafka, CALLS) if isinstance(event, LegEnded | CallEnded)]

    def repeats(self) -> int:
        """How many closing events have arrived that were there already."""
        ids = [event.event_id for event in self.closings()]
        return len(ids) - len(set(ids))

    def audit(self, journals: Mapping[str, Path], settle_seconds: float = 60) -> AuditReport:
        """The audit, once what is in flight has settled."""
        roles = self._workers.keys() & self.running.keys()
        self.until(lambda: all(map(self._works, roles)))
        settings = AuditSettings(
            postgres=self.postgres, kafka=as_user(self.kafka, "cli"), clickhouse=self.clickhouse, journals=journals
        )
        return audit(settings, settle_seconds=settle_seconds)

    def _works(self, role: str) -> bool:
        beat = self.directory / f"{role}.beat"
        return beat.exists() and bool(json.loads(beat.read_text())["ok"])

    def _keep_workers(self) -> None:
        """As the supervisor does: a worker that has ended because it would never come to work is started again. Where
        the broker names no broker in its first answer (it is just being fenced, or not yet), its coordinator dies.
        """
        for role in self._workers.keys() & self.running.keys():
            if self.running[role].poll() is not None and WORDS in self.said(role):
                self._start(role, _WORKER, self._workers[role])

    def close(self) -> None:
        """End every process: by SIGTERM, as the supervisor does, and then for sure."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def verdict(report: AuditReport) -> str:
    """The audit's word for a report's line."""
    return "equal" if report.ok else f"{report.differences_total} differences: {report.differences[:3]}"
