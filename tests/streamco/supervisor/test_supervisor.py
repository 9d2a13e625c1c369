"""The supervisor with small real processes: started in order, started again, given up, ended, orphans ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamco import control
from streamco import status as status_file
from streamco.embedded.server import ServerError
from streamco.places import Places
from streamco.settings import Settings, read_settings
from streamco.supervisor import keeper
from streamco.supervisor.component import Component, Status
from streamco.supervisor.supervisor import Supervisor, end_orphans, status_document

WORK = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(600)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"STREAMCO_HOME": str(tmp_path)})


@pytest.fixture
def supervisor(settings: Settings) -> Iterator[Supervisor]:
    supervisor = Supervisor(Places(settings), lambda _: None)
    supervisor.open()
    yield supervisor
    supervisor.close()


def worker(tmp_path: Path, name: str, program: str = WORK, **fields: Any) -> Component:
    mark = tmp_path / f"{name}.mark"

    def healthy(_pid: int | None) -> None:
        if not mark.exists():
            raise ServerError("no mark yet")

    def prepare(_progress: Callable[[str], None]) -> None:
        mark.unlink(missing_ok=True)

    return Component(
        name=name,
        address=None,
        healthy=healthy,
        prepare=prepare,
        argv=(sys.executable, "-c", program, str(mark)),
        directory=tmp_path,
        check_seconds=0.2,
        **fields,
    )


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_started_killed_and_started_again(settings: Settings, supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([worker(tmp_path, "one")])
    first = supervisor.statuses()[0]
    assert (first.state, first.restarts) == ("healthy", 0)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: supervisor.statuses()[0].restarts == 1 and supervisor.statuses()[0].state == "healthy")
    second = supervisor.statuses()[0]
    assert second.pid not in (None, first.pid)
    until(lambda: status_file.read_status(settings)["ok"])
    assert status_file.read_status(settings)["components"][0]["pid"] == second.pid
    metrics = Places(settings).run / "supervisor.prom"
    told = {'streamco_component_restarts{name="one"} 1.0', 'streamco_component_up{name="one"} 1.0'}
    until(lambda: metrics.exists() and told <= set(metrics.read_text().splitlines()), seconds=30)


def test_what_calls_wait_for_has_the_processor_first(supervisor: Supervisor, tmp_path: Path) -> None:
    names = ("router", "node-agent-ast1", "asterisk-ast1", "postgres", "streams-2", "kafka", "clickhouse", "auditor")
    supervisor.start([worker(tmp_path, name) for name in names])
    own = os.getpriority(os.PRIO_PROCESS, 0)
    found = {one.name: psutil.Process(one.pid).nice() - own for one in supervisor.statuses()}
    lowest = 19 - own  # where these tests run with a niceness of their own
    assert [found[name] for name in names] == [min(one, lowest) for one in (0, 0, 0, 0, 5, 5, 10, 10)]


def test_it_is_given_its_secrets_at_each_start_and_keeps_no_descriptor_of_them(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = (
        "import pathlib, sys, time; given = sys.stdin.read(); target = pathlib.Path(sys.argv[1]); "
        "target.with_name(f'given-{time.monotonic_ns()}').write_text(given); target.write_text('up'); time.sleep(600)"
    )
    supervisor.start([worker(tmp_path, "one", program, given=b"a secret of 20 bytes")])
    pid = supervisor.statuses()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.statuses()[0].restarts == 1 and supervisor.statuses()[0].state == "healthy")
    assert [path.read_text() for path in tmp_path.glob("given-*")] == ["a secret of 20 bytes"] * 2
    assert not [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and "memfd" in str(one.readlink())]


def test_what_it_needs_comes_first_also_after_a_crash(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([worker(tmp_path, "late", needs=("early",)), worker(tmp_path, "early")])
    late, early = supervisor.statuses()
    assert late.pid is not None
    assert early.pid is not None
    assert psutil.Process(late.pid).create_time() > psutil.Process(early.pid).create_time()


def test_one_that_cannot_start_is_an_error_with_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"broken does not start: ended with code 3.* \(log: .*broken.log\)"):
        supervisor.start([worker(tmp_path, "broken", "raise SystemExit(3)")])


def test_one_that_starts_slowly_is_ended_unless_it_waits_for_a_processor(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time; time.sleep(2); " + WORK
    for name, waited in (("hangs", 0.0), ("starves", 60.0)):
        monkeypatch.setattr(keeper, "waited_seconds", lambda _pid, waited=waited: waited)
        with suppress(ServerError):
            supervisor.start([worker(tmp_path, name, slow, start_seconds=1.0)])
        found = next(one for one in supervisor.statuses() if one.name == name)
        assert (found.restarts > 0) == (name == "hangs"), found
        supervisor.stop([name])


def test_one_that_has_died_is_never_shown_healthy(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([worker(tmp_path, "one")])
    for restart in (1, 2):
        pid = supervisor.statuses()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 15
        while (status := supervisor.statuses()[0]).restarts < restart or status.state != "healthy":
            assert (status.state == "healthy") <= (status.pid is not None)
            assert time.monotonic() < deadline


def test_one_that_runs_but_does_not_work_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([worker(tmp_path, "one")])
    pid = supervisor.statuses()[0].pid
    (tmp_path / "one.mark").unlink()
    until(lambda: supervisor.statuses()[0].restarts == 1 and supervisor.statuses()[0].state == "healthy")
    assert supervisor.statuses()[0].pid != pid


def test_closing_ends_all_of_it(settings: Settings, tmp_path: Path) -> None:
    supervisor = Supervisor(Places(settings), lambda _: None)
    supervisor.open()
    supervisor.start([worker(tmp_path, "one"), worker(tmp_path, "two")])
    pids = [status.pid for status in supervisor.statuses()]
    supervisor.close()
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    document = status_file.read_status(settings)
    assert not document["ok"]
    assert [one["state"] for one in document["components"]] == ["stopped", "stopped"]


def test_a_second_supervisor_of_a_home_is_refused(settings: Settings, supervisor: Supervisor) -> None:
    with pytest.raises(ServerError, match=rf"in use: a supervisor \(process {os.getpid()}\)"):
        Supervisor(Places(settings), lambda _: None).open()
    with pytest.raises(ServerError, match="in use"):
        control.up(settings, lambda _: None)


def test_what_a_killed_supervisor_left_is_ended_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    program = (
        "import sys, time; sys.path[:0] = sys.argv[2:]; from pathlib import Path; "
        "from test_supervisor import worker; from streamco.places import Places; "
        "from streamco.settings import read_settings; from streamco.supervisor.supervisor import Supervisor; "
        "home = Path(sys.argv[1]); s = Supervisor(Places(read_settings({'STREAMCO_HOME': str(home)})), print); "
        "s.open(); s.start([worker(home, 'one')]); print('ready', flush=True); time.sleep(600)"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), here], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until(lambda: "ready" in (process.stdout.readline() if process.stdout else ""))
    pid = json.loads(Places(settings).pid("one").read_text())["pid"]
    process.kill()
    process.wait()
    process.stdout.close()
    document = status_file.read_status(settings)
    assert (document["ok"], document["components"][0]["state"]) == (False, "failed")
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Places(settings).pid("stranger").write_text(json.dumps({"pid": stranger.pid, "started_at": 1.0}))
    try:
        assert end_orphans(Places(settings), lambda _: None) == ["one"]
        assert not psutil.pid_exists(pid)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not list(Places(settings).run.glob("one.pid"))


def test_external_components_are_asked_and_never_started(supervisor: Supervisor) -> None:
    answers = [True]

    def healthy(pid: int | None) -> None:
        assert pid is None
        if not answers[0]:
            raise ServerError("gone")

    supervisor.start([Component(name="far", address="far:1", healthy=healthy, external=True, check_seconds=0.1)])
    assert status_document(supervisor.statuses())["ok"]
    answers[0] = False
    until(lambda: supervisor.statuses()[0].state == "failed")
    status = supervisor.statuses()[0]
    assert (status.pid, status.detail) == (None, "gone")


def test_one_that_lacks_a_part_is_degraded_at_work_and_not_ok(
    settings: Settings, supervisor: Supervisor, tmp_path: Path
) -> None:
    """Others that need it are started, and it is not started again."""
    lacks = ["no AMI (refused): no heartbeats"]
    one = worker(tmp_path, "one")

    def healthy(pid: int | None) -> str:
        one.healthy(pid)
        return lacks[0]

    supervisor.start([replace(one, healthy=healthy), worker(tmp_path, "two", needs=("one",))])
    document = status_file.read_status(settings)
    assert [(part["state"], part["detail"], part["restarts"]) for part in document["components"]] == [
        ("degraded", lacks[0], 0), ("healthy", "", 0),
    ]  # fmt: skip
    assert not document["ok"]
    assert status_file.faults(document) == [f"one: degraded: {lacks[0]}"]
    lacks[0] = ""
    until(lambda: status_file.read_status(settings)["ok"])
    lacks[0] = "again"
    until(lambda: supervisor.statuses()[0].state == "degraded")
    killed = supervisor.statuses()[0].pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: supervisor.statuses()[0].restarts == 1 and supervisor.statuses()[0].state == "degraded")


def test_faults_are_the_alarm_and_what_is_not_simply_at_work() -> None:
    parts = [Status("a", "healthy", 1, None, 0, None), Status("b", "external", None, None, 0, None),
             Status("c", "failed", None, None, 3, None, "why")]  # fmt: skip
    assert status_file.faults(status_document(parts, "DISK NEARLY FULL")) == ["DISK NEARLY FULL", "c: failed: why"]
    assert status_file.faults(status_document(parts[:2])) == []


def test_nothing_at_all_is_not_ok() -> None:
    assert not status_document([])["ok"]


def test_a_home_whose_disk_is_nearly_full_is_an_alarm(settings: Settings, tmp_path: Path) -> None:
    supervisor = Supervisor(Places(settings), lambda _: None, 1 << 50)  # a reserve that no disk has
    supervisor.open()
    try:
        supervisor.start([worker(tmp_path, "one")])
        until(lambda: status_file.read_status(settings).get("alarm", "") != "")
        document = status_file.read_status(settings)
        assert document["alarm"].startswith("DISK NEARLY FULL under the home: ")
        assert status_file.faults(document) == [document["alarm"]]
        assert supervisor.disk_alarm() == document["alarm"]
        assert [one["state"] for one in document["components"]] == ["healthy"]
        assert not document["ok"]
        metrics = Places(settings).run / "supervisor.prom"
        until(lambda: metrics.exists() and 'streamco_disk_low{place="home"} 1.0' in metrics.read_text())
    finally:
        supervisor.close()
