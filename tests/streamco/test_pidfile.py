"""Pid files prove whose a process is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from streamco.pidfile import end_process, living, read_pid, write_pid

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
]


def test_a_process_is_known_again_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "one.pid"
    process = subprocess.Popen(SLEEP)
    try:
        identity = write_pid(path, process.pid)
        assert read_pid(path) == identity
        found = living(identity)
        assert found is not None
        assert end_process(found, signal.SIGTERM, 10.0)
    finally:
        process.kill()
        process.wait()
    assert living(read_pid(path)) is None


def test_another_process_with_the_same_pid_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "one.pid"
    process = subprocess.Popen(SLEEP)
    try:
        write_pid(path, process.pid)
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data | {"started_at": data["started_at"] - 3600}))
        assert living(read_pid(path)) is None
    finally:
        process.kill()
        process.wait()


def test_one_that_does_not_listen_is_killed() -> None:
    process = subprocess.Popen(DEAF, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert not end_process(psutil.Process(process.pid), signal.SIGTERM, 0.3)
    assert not psutil.pid_exists(process.pid)
    process.wait()
    process.stdout.close()


def test_a_file_that_says_nothing_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "one.pid"
    assert read_pid(path) is None
    for text in ("", "12", "{}", '{"pid": "x", "started_at": 1}'):
        path.write_text(text)
        assert read_pid(path) is None
