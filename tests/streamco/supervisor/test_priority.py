"""Calls before books: the processes that only keep books run with a lower priority, their sessions, too."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from streamco.supervisor.priority import niceness_of, set_niceness, waited_seconds

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
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(own + niceness_of(component), 19)
        if before and leads:
            share = min(own + niceness_of(component) // 2, 19)
            assert Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1] == str(share)
        process.kill()
    assert not before or ours.read_text() == before  # of those beside it nothing has changed


def test_one_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen(SLEEPS, stdin=subprocess.DEVNULL)
    process.wait()
    set_niceness(process.pid, "auditor")
    assert waited_seconds(process.pid) == 0


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not tell")
def test_what_a_process_waits_for_a_processor_is_known() -> None:
    processor = {min(os.sched_getaffinity(0))}
    busy = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {processor})\nwhile True: pass"]
    with ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(busy)) for _ in range(3)]
        for one in running:
            stack.callback(one.kill)
        deadline = time.monotonic() + 30
        while not all(waited_seconds(one.pid) > 0.2 for one in running):
            assert time.monotonic() < deadline
            time.sleep(0.05)
