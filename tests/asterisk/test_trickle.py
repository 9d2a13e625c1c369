"""The trickle on the real node: every kind of ending comes by, a SIPp that dies is started again, no child is left."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from real_calls import until
from real_line import Line

from schemas.events import CallEnded
from schemas.journal import decode_line
from streamco.embedded.temporary import free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from simulator.sipp.traffic import run
from configuration.settings import TrickleSettings
run(TrickleSettings.model_validate_json(sys.argv[1]))
"""
PROCESSES = 11


@pytest.fixture
def trickle(own_line: Line, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A trickle at full speed; the line's own vendors take the calls, its own only listen."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    values = {
        "directory": str(tmp_path / "trickle"),
        "node_port": own_line.sip_port,
        "vendor_port": free_port(),
        "calls_per_second": 10,
        "cache": str(own_line.cache),
        "beat": str(tmp_path / "beat"),
    }
    with (tmp_path / "out").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_all_kinds_of_endings_come_by(own_line: Line, trickle: subprocess.Popen[bytes], tmp_path: Path) -> None:
    def endings() -> Counter[tuple[str, str]]:
        lines = [line for line in own_line.journal.read_bytes().splitlines(True) if line.endswith(b"\n")]
        ended = [event for event in map(decode_line, lines) if isinstance(event, CallEnded)]
        return Counter((one.dial_status, one.reason) for one in ended)

    def sipps() -> list[psutil.Process]:
        return psutil.Process(trickle.pid).children()

    until(lambda: len(sipps()) == PROCESSES, "every part plays")
    victim = sipps()[0]
    victim.kill()
    until(lambda: len(sipps()) == PROCESSES and victim not in sipps(), "it plays again")
    wanted = {("ANSWER", ""), ("BUSY", ""), ("CANCEL", ""), ("CONGESTION", ""), ("", "NO BALANCE"), ("", "LIMIT")}
    until(lambda: wanted | {("", "UNAUTHORISED"), ("", "NO ROUTE")} <= endings().keys(), "all endings")
    assert json.loads((tmp_path / "beat").read_text())["ok"]
    children = sipps()
    trickle.terminate()
    assert trickle.wait(30) == 0, (tmp_path / "out").read_text()[-2000:]
    assert not any(child.is_running() for child in children)


def test_sipp_ends_with_a_trickle_that_is_killed(trickle: subprocess.Popen[bytes]) -> None:
    until(lambda: len(psutil.Process(trickle.pid).children()) == PROCESSES, "every part plays")
    children = psutil.Process(trickle.pid).children()
    trickle.kill()
    until(lambda: not any(child.is_running() for child in children), "SIPp has ended")
