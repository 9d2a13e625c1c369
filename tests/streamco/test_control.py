"""`up --stay`: SIGTERM stops what was started, and the end of the supervisor is an end of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamco.pidfile import write_pid
from streamco.places import Places
from streamco.settings import read_settings

STAY = """
import sys
from streamco import control
from streamco.embedded.server import ServerError
from streamco.settings import read_settings
control.end_by_sigterm()
print("stays", flush=True)
try:
    control.stay(read_settings({"STREAMCO_HOME": sys.argv[1]}), lambda text: print(text, flush=True))
except ServerError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is taken for one."""
    places = Places(read_settings({"STREAMCO_HOME": str(tmp_path)}))
    places.make()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        write_pid(places.supervisor_pid, process.pid)
        yield process
        process.kill()


@pytest.fixture
def staying(tmp_path: Path, supervisor: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[str]]:
    assert supervisor.pid
    command = [sys.executable, "-c", STAY, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stays\n"
        time.sleep(0.3)
        yield process
        process.kill()


def test_sigterm_stops_the_supervisor_and_is_a_good_end(
    supervisor: subprocess.Popen[bytes], staying: subprocess.Popen[str]
) -> None:
    assert staying.poll() is None
    staying.terminate()
    assert supervisor.wait(20) == -signal.SIGTERM
    output, errors = staying.communicate(timeout=20)
    assert (staying.returncode, errors) == (0, "")
    assert f"stopping the supervisor (process {supervisor.pid})" in output


def test_a_supervisor_that_ends_is_a_failure(
    supervisor: subprocess.Popen[bytes], staying: subprocess.Popen[str]
) -> None:
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait(20)
    _, errors = staying.communicate(timeout=20)
    assert staying.returncode == 1
    assert "the supervisor has ended; its log: " in errors
