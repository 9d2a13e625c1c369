"""The whole product as a user starts it: `streamco demo` with every process killed once, and the audit at its end.

Then `up`, `status`, `logs`, `down` on the data that it left.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from bounds import read_bounds
from open_files import open_to_others
from ports import free_row
from prometheus_client.parser import text_string_to_metric_families

from configuration.asterisk.fetch import why_not
from streamco.embedded.temporary import free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]
ROOT = Path(__file__).resolve().parents[2]
STREAMCO = [sys.executable, "-m", "streamco.cli"]
PORTS = (
    "POSTGRES_PORT", "KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "CLICKHOUSE_PORT", "ROUTER_PORT", "DASHBOARDS_PORT",
    "SIP_PORT",
)  # fmt: skip
NODES = 3
# What is killed at one moment. With --whole each by itself, one after the other.
KILLED = (
    ("router", "node-agent-sim1", "streams-1", "auditor", "dashboards"),
    ("kafka", "postgres", "clickhouse", "streams-2"),
)
TRAFFIC_SECONDS = 900  # more than all need: Ctrl-C ends it when all are back and enough has been called
BACK_SECONDS = 240  # a wave comes back in thirty seconds on two busy cores; slow machines take several times that
CALLING_SECONDS = 90  # after the start, at least
METRICS_SECONDS = 11  # each process has written its own by then, also the last that was started again
# Calls a second, and how many there must be at the end: with --whole as a user has them, else so few that two
# processors, which other tests share, bring everything back sooner.
TRAFFIC = {True: (60, 2_000), False: (25, 800)}


class Home:
    """A STREAMCO_HOME with ports of its own."""

    def __init__(self, directory: Path, cps: int) -> None:
        self.directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMCO_")}
        ports = {f"STREAMCO_{name}": str(free_port()) for name in PORTS}
        self.environment = {
            **kept,
            **ports,
            "STREAMCO_HOME": str(directory),
            "STREAMCO_AMI_PORT": str(free_row(NODES)),
            "STREAMCO_HEP_PORT": str(free_row(NODES)),
            "STREAMCO_RTP_PORT_FIRST": "2100",  # apart from free_port's
            "STREAMCO_RTP_PORT_LAST": "2999",
            "STREAMCO_SIMULATOR_CPS": str(cps),
        }

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | more
        return subprocess.run([*STREAMCO, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def components(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.status()["components"]}

    def back(self, pids: dict[str, int]) -> bool:
        """Is all well, and does each of these run again, as another process?"""
        document = self.status()
        found = {one["name"]: one for one in document["components"]}
        again = (found[name]["pid"] not in (None, pid) and found[name]["restarts"] >= 1 for name, pid in pids.items())
        return bool(document["ok"]) and all(again)


def until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(2)  # what is asked takes part of a processor, which those that come back need


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, whole: bool) -> Iterator[Home]:
    # A short path: Asterisk's socket has no room for a long one.
    home = Home(tmp_path_factory.mktemp("s"), TRAFFIC[whole][0])
    yield home
    home.run("down")


class Demo(NamedTuple):
    """The demo's exit code and output; near its end the metrics of all processes, and what /proc shows of each."""

    code: int
    output: str
    metrics: str
    shown: dict[str, str]


def shown_of(root: int) -> dict[str, str]:
    """Arguments and environment of a process and of all that came of it, by what it is and its number."""
    shown = {}
    process = psutil.Process(root)
    for one in (process, *process.children(recursive=True)):
        try:
            arguments = " ".join(one.cmdline())
            shown[f"{one.pid} {arguments[:4000]}"] = f"{arguments} {one.environ()}"
        except psutil.NoSuchProcess:
            continue
    return shown


@pytest.fixture(scope="module")
def demo(home: Home, whole: bool) -> Demo:
    """A demo in which each of KILLED was killed once, and came back."""
    waves = [(name,) for wave in KILLED for name in wave] if whole else list(KILLED)
    output = home.directory.parent / "demo.out"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*STREAMCO, "demo", "--seconds", str(TRAFFIC_SECONDS)],
            env=home.environment, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or home.status()["ok"], BACK_SECONDS, output.read_text)
        began = time.monotonic()
        for wave in waves:
            pids = {name: home.components()[name]["pid"] for name in wave}
            for pid in pids.values():
                os.kill(pid, signal.SIGKILL)
            missing = f"do not come back: {wave}"
            until(lambda pids=pids: home.back(pids), BACK_SECONDS, lambda said=missing: f"{said}: {home.status()}")
        time.sleep(max(METRICS_SECONDS, began + CALLING_SECONDS - time.monotonic()))
        metrics, shown = home.run("metrics").stdout, shown_of(process.pid)
        process.send_signal(signal.SIGINT)
        code = process.wait(200)
    finally:
        process.kill()
        process.wait()
    return Demo(code, output.read_text(), metrics, shown)


def test_every_leg_is_billed_once_whatever_was_killed(demo: Demo, whole: bool) -> None:
    code, output = demo.code, demo.output
    report = json.loads(output.splitlines()[-1])
    assert (code, report["ok"], report["differences"]) == (0, True, []), output[-3000:]
    legs = report["legs"]
    assert legs["journal"] == legs["rated"] == legs["cdr"] == legs["ledger"] > report["calls"] > TRAFFIC[whole][1]
    assert (legs["dead_letters"], legs["undecodable"], report["holds_open"]) == (0, 0, 0)
    assert set(report["nodes"]) == {"sim1", "sim2"} | (set() if why_not() else {"ast1"})
    assert all(count > 0 for count in report["nodes"].values())
    for row in report["money"]:
        sums = {row[f"{store}_micros"] for store in ("rated", "cdr", "ledger", "balance")}
        assert len(sums) == 1
    # Of a currency that few calls have, none may have been answered.
    assert {row["side"] for row in report["money"] if row["rated_micros"]} == {"receivable", "payable"}


def test_every_bound_is_the_documented_one_and_kept(demo: Demo) -> None:
    limits: dict[str, set[float]] = {}
    used: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(demo.metrics):
        for sample in family.samples:
            if sample.name.endswith("_limit"):
                limits.setdefault(sample.name.removesuffix("_limit"), set()).add(sample.value)
            else:
                used.setdefault(sample.name, []).append(sample.value)
    rows = {row.metric: row for row in read_bounds()}
    assert limits.keys() == {row.metric for row in rows.values() if row.limit is not None}
    for metric, row in rows.items():
        assert used.get(metric), f"{metric} is said by no process"
        if row.limit is not None:
            assert limits[metric] == {row.limit}, metric
            assert 0 <= max(used[metric]) <= row.limit, metric


def test_no_process_shows_a_secret(demo: Demo, home: Home) -> None:
    secrets: dict[str, str] = json.loads((home.directory / "secrets.json").read_text())
    assert len(secrets) > 3
    names = " ".join(demo.shown)
    wanted = ["streamco.run", "kafka.Kafka", "front.main", "/bin/postgres", "router.build.builder", "simulator"]
    assert all(part in names for part in wanted + ([] if why_not() else ["asterisk.conf", "sipp"])), names
    for process, shown in demo.shown.items():
        assert not [name for name, secret in secrets.items() if secret in shown], process


def test_the_audit_is_the_last_line_and_the_login_is_shown_once(demo: Demo) -> None:
    output = demo.output
    assert output.count("first login  admin   password") == 1
    assert output.splitlines()[-1].startswith('{"ok":true')


def test_the_home_is_closed_to_other_users_and_all_that_is_in_it(demo: Demo, home: Home) -> None:
    assert "closed to other users now" not in demo.output  # it was from the first
    assert demo.output.count("started by root") == (1 if os.geteuid() == 0 else 0)
    assert home.directory.stat().st_mode & 0o777 == 0o700
    assert open_to_others(home.directory) == []


def test_no_process_is_left_behind(demo: Demo, home: Home) -> None:
    assert demo.code == 0
    left = []
    for process in psutil.process_iter():
        try:
            if str(home.directory) in " ".join([*process.cmdline(), *process.environ().values()]):
                left.append(process)
        except psutil.Error:
            continue
    assert left == []
    assert {one["state"] for one in home.status()["components"]} == {"stopped"}


def test_data_survives_and_up_down_status_logs_work(demo: Demo, home: Home) -> None:
    report = json.loads(demo.output.splitlines()[-1])
    nodes = {"STREAMCO_NODES": "sim1,sim2,ast1"}
    for name in ("", "logs", "nodes/sim1/journal"):  # as a version before made them
        (home.directory / name).chmod(0o755)
    started = home.run("up", **nodes)
    assert started.returncode == 0, started.stdout + started.stderr
    assert f"{home.directory} is closed to other users now: it had mode 0755, and 1 folders" in started.stdout
    assert open_to_others(home.directory) == [home.directory / "nodes/sim1/journal"]  # which its folder closes
    assert "first login" not in started.stdout
    assert "node-agent-ast1: degraded: no AMI (AMI at 127.0.0.1:" in started.stdout
    try:
        second = home.run("up", **nodes)
        assert second.returncode == 1
        assert "in use" in second.stderr
        shown = home.run("status")
        assert shown.returncode == 1  # no Asterisk runs: that is said, with what follows from it
        degraded = {line.split()[0] for line in shown.stdout.splitlines() if " degraded " in line}
        # The router itself says it too, of nodes that were heard of and are not now.
        assert degraded - {"router"} == {"node-agent-sim1", "node-agent-sim2", "node-agent-ast1"}, shown.stdout
        names = [line.split()[0] for line in shown.stdout.splitlines()]
        agents = [f"node-agent-{node}" for node in ("sim1", "sim2", "ast1")]
        streams = ["streams-1", "streams-2", "streams-3", "streams-4", "streams-5"]
        assert names == ["postgres", "kafka", "clickhouse", "router", *agents, *streams, "auditor", "dashboards"]
        again = json.loads(home.run("audit", "--json", "--settle", "20", **nodes).stdout)
        assert (again["ok"], again["legs"], again["money"]) == (True, report["legs"], report["money"])
        fresh = home.run("password", "admin").stdout
        assert fresh.startswith("login: admin  password: ")
        assert home.run("password", "nobody").returncode == 1
        line = json.loads(home.run("logs", "router", "-n", "1").stdout)
        assert line["component"] == "router"
    finally:
        ended = home.run("down")
    assert ended.returncode == 0
    assert home.run("status").returncode == 1


def test_a_busy_port_and_a_wrong_setting_are_said_before_anything_starts(home: Home) -> None:
    wrong = home.run("up", STREAMCO_ROUTER_PORT="70000")
    assert wrong.returncode == 1
    assert "STREAMCO_ROUTER_PORT '70000'" in wrong.stderr
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", int(home.environment["STREAMCO_ROUTER_PORT"])))
        holder.listen(1)
        busy = home.run("up")
    assert busy.returncode == 1
    assert "STREAMCO_ROUTER_PORT is not free" in busy.stderr
    assert str(os.getpid()) in busy.stderr
