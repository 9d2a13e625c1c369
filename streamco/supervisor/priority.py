"""Calls before books: on a machine that has too little, what a call waits for gets the processor first.

Asterisk, routers, agents and PostgreSQL (admission) keep their priority; the others wait. Nothing of theirs is lost:
journal and topics keep it until there is time. To lower a priority needs no rights.

A kernel that groups processes by session (sched_autogroup_enabled, on by default in many distributions) compares the
sessions first, and a process's niceness only within its own: each component has a session of its own, which gets half
the niceness. All of it would be a ninth of what any other session gets, and PostgreSQL has one for each connection.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_NICENESS: Final[Mapping[str, int]] = {"kafka": 5, "streams": 5, "clickhouse": 10, "auditor": 10, "dashboards": 10}
_TRIES: Final = 8
_AGAIN_SECONDS: Final = 0.1  # the kernel lets users without rights set a group's niceness so often


def niceness_of(component: str) -> int:
    """By a component's name; streams-1 is as streams."""
    return _NICENESS.get(component.partition("-")[0], 0)


def set_niceness(pid: int, component: str) -> None:
    """Of a process that was just started: its threads and children will have it, and its session, if it leads one."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):  # it has ended, or may not: then it runs as it is
        os.setpriority(os.PRIO_PROCESS, pid, own + niceness_of(component))
        if os.getsid(pid) == pid:
            _set_group(Path(f"/proc/{pid}/autogroup"), min(own + niceness_of(component) // 2, 19))


def _set_group(group: Path, niceness: int) -> None:
    """Raises OSError where there are no groups, or the process has ended."""
    for _ in range(_TRIES):
        try:
            group.write_text(str(niceness))
        except BlockingIOError:
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def waited_seconds(pid: int) -> float:
    """How long a process has been ready to run while others had the processor, as far as the kernel tells; else 0.

    Of its first thread: that is the one that starts it.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
