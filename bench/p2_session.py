"""P2: a whole AGI session: connect, header, decision, admission off and on, variables, close.

The router's own process, its decisions spooled to a real Kafka, holds in a real PostgreSQL; the client is a process of
its own. Beside it a server that sets the same variables and decides nothing, in turns with ours.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from pydantic import SecretStr

from bench.agi_world import SECRET, make_agi_world
from bench.figures import percentile, say
from runtime.migrations import migrate_postgres
from runtime.topics import make_topics
from streamco.embedded.kafka import kafka_server
from streamco.embedded.postgres import postgres_server
from streamco.embedded.settings import KafkaServer, PostgresServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import as_user, make_users, values_of

HERE: Final = Path(__file__).resolve().parent.parent
_PAIR: Final = re.compile(r"(?:^|,)([A-Z_0-9]+)=((?:[^,\\]|\\.)*)")


class Client:
    """The asking process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.agi_client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order, wait for what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def measure(arguments: list[str]) -> dict[str, Any]:
    """The figures."""
    parser = argparse.ArgumentParser(prog="bench P2")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument(
        "--against", type=Path, help="another working tree, whose router is measured in turns with ours"
    )
    options = parser.parse_args(arguments)
    with TemporaryServers() as servers, contextlib.ExitStack() as stack:
        values = start_servers(servers)
        client = Client()
        stack.callback(client.close)
        trees = {"": HERE} | ({"before_": options.against} if options.against else {})
        running = {
            f"{prefix}{name}": stack.enter_context(
                serving("router", servers.directory / f"{prefix}{name}", values, tree=tree, admission=name == "held")
            )
            for prefix, tree in trees.items()
            for name in ("free", "held")
        }
        variables = _variables(client.ask(do="one", port=running["free"].port)["sent"])
        running["bare"] = stack.enter_context(
            serving("bare", servers.directory / "bare", values, admission=False, variables=variables)
        )
        rates, micros = _as_fast_as_answered(client, running, options)
        paced = {
            name: client.ask(do="rate", port=one.port, seconds=options.seconds * 2, rate=options.rate)["times"]
            for name, one in running.items()
            if not name.endswith("free")
        }
    per_second = {name: percentile(found, 0.5) for name, found in rates.items()}
    before = {
        f"{name}{what}": value
        for name in sorted(per_second)
        if name.startswith("before_")
        for what, value in (
            ("_sessions_per_second", round(per_second[name])),
            ("_cpu_micros", round(percentile(micros[name], 0.5))),
            ("_ratio", round(per_second[name.removeprefix("before_")] / per_second[name], 2)),
        )
    }
    if "before_held" in paced:
        before["before_p50_ms"] = round(percentile(paced["before_held"], 0.5) * 1000, 2)
        before["before_p99_ms"] = round(percentile(paced["before_held"], 0.99) * 1000, 2)
    return {
        "variables": len(variables),
        "sessions_per_second": round(per_second["free"]),
        "held_sessions_per_second": round(per_second["held"]),
        "bare_sessions_per_second": round(per_second["bare"]),
        "of_bare": round(per_second["free"] / per_second["bare"], 2),
        "cpu_micros": {name: round(percentile(micros[name], 0.5)) for name in ("free", "held", "bare")},
        "rate": options.rate,
        "p50_ms": round(percentile(paced["held"], 0.5) * 1000, 2),
        "p99_ms": round(percentile(paced["held"], 0.99) * 1000, 2),
        "bare_p50_ms": round(percentile(paced["bare"], 0.5) * 1000, 2),
        "bare_p99_ms": round(percentile(paced["bare"], 0.99) * 1000, 2),
        **before,
    }


def _as_fast_as_answered(
    client: Client, running: dict[str, "Serving"], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Sessions a second, and the processor's microseconds that the server took for one, of each turn."""
    rates: dict[str, list[float]] = {name: [] for name in running}
    micros: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(options.turns + 1):  # the first warms up
        for name, one in running.items():
            before = one.cpu_seconds()
            found = client.ask(do="fast", port=one.port, seconds=options.seconds, at_once=options.at_once)
            assert found["allowed"] == found["sessions"], f"{name}: {found}"
            if turn:
                rates[name].append(found["sessions"] / found["seconds"])
                micros[name].append((one.cpu_seconds() - before) / found["sessions"] * 1e6)
                say(f"{name}: {rates[name][-1]:.0f} sessions/s, {micros[name][-1]:.0f} µs of its processor each")
    return rates, micros


@dataclass(frozen=True)
class Serving:
    """A server that is ready."""

    port: int
    pid: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What it has used of the processor, with all its threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def start_servers(servers: TemporaryServers) -> dict[str, Any]:
    """PostgreSQL with the world of agi_world.py, and Kafka; how they are reached."""
    say("starting PostgreSQL and Kafka")
    postgres = PostgresServer(
        directory=servers.directory / "postgres", port=free_port(), password=SecretStr(password())
    )
    servers.start(postgres_server(postgres))
    migrate_postgres(postgres.connection)
    dsn = postgres.connection.dsn.get_secret_value()
    make_agi_world(dsn)
    kafka = KafkaServer(
        directory=servers.directory / "kafka",
        port=free_port(),
        controller_port=free_port(),
        password=SecretStr(password()),
    )
    servers.start(kafka_server(kafka))
    make_topics(kafka.connection())
    make_users(kafka.connection())
    return {"dsn": dsn, "kafka": values_of(as_user(kafka.connection(), "router"))}


@contextlib.contextmanager
def serving(
    kind: str, directory: Path, values: dict[str, Any], *, admission: bool, tree: Path = HERE, variables: Any = ()
) -> Iterator[Serving]:
    """A server of a working tree, ready."""
    directory.mkdir()
    port = free_port()
    settings = {
        "snapshot": {"postgres": {"dsn": values["dsn"]}, "directory": str(directory / "snapshot")},
        "kafka": values["kafka"],
        "spool": str(directory / "spool.sqlite"),
        "port": port,
        "beat": str(directory / "beat"),
        "admission": admission,
    }
    if tree == HERE:  # one of before may not know them
        settings |= {"agi_secret": SECRET, "sessions": str(directory / "sessions")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.agi_server", kind, str(os.getpid())],
            stdin=subprocess.PIPE,
            stderr=log,
            stdout=log,
            cwd=tree,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"settings": settings, "variables": variables}).encode() + b"\n")
    process.stdin.close()
    deadline = time.monotonic() + 240
    while not (directory / "beat").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{kind} does not serve: {(directory / 'log').read_text()[-2000:]}")
        time.sleep(0.05)
    try:
        yield Serving(port, process.pid, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(15)


def _variables(sent: str) -> list[tuple[str, str]]:
    """The variables that a session's commands set (their values need no quoting)."""
    found: list[tuple[str, str]] = []
    for line in sent.splitlines():
        text = line.removeprefix('EXEC MSet "').removesuffix('"')
        found += _PAIR.findall(text)
    return found
