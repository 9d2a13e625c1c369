"""Calls before books: the processes that only keep books run with a lower priority, their sessions, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamco.supervisor.priority import niceness_of, set_niceness

SLEEPS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def test_what_a_call_waits_for_keeps_its_priority() -> None:
    assert [niceness_of(one) for one in ("router", "router-2", "node-agent-ast1", "asterisk-ast1", "postgres")] == [
        0
    ] * 5
    assert all(
        niceness_of(one) > 0 for one in ("kafka", "clickhouse", "streams-1", "streams-5", "auditor", "dashboards")
    )


@pytest.mark.parametrize("component", ["router", "streams-2", "auditor"])
@pytest.mark.parametrize("leads", [True, False], ids=["a session of its own", "in ours"])
def test_a_process_and_the_session_that_it_leads_are_nice(component: str, leads: bool) -> None:
    own, ours = os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/autogroup")
    before = ours.read_text() if ours.exists() else ""
    with subprocess.Popen(SLEEPS, stdin=subprocess.PIPE, start_new_session=leads) as process:
        set_niceness(process.pid, component)
        wanted = min(own + niceness_of(component), 19)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == wanted
        if before and leads:
            assert Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1] == str(wanted)
        process.kill()
    assert not before or ours.read_text() == before  # of those beside it nothing has changed


def test_one_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen(SLEEPS, stdin=subprocess.DEVNULL)
    process.wait()
    set_niceness(process.pid, "auditor")
