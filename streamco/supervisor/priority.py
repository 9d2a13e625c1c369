"""Calls before books: on a machine that has too little, what a call waits for gets the processor first.

Asterisk, routers, agents and PostgreSQL (admission) keep their priority; the others wait. Nothing of theirs is lost:
journal and topics keep it until there is time. To lower a priority needs no rights.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_NICENESS: Final[Mapping[str, int]] = {"kafka": 5, "streams": 5, "clickhouse": 10, "auditor": 10, "dashboards": 10}


def niceness_of(component: str) -> int:
    """By a component's name; streams-1 is as streams."""
    return _NICENESS.get(component.partition("-")[0], 0)


def set_niceness(pid: int, component: str) -> None:
    """Of a process that was just started: its threads and children will have it, too."""
    with suppress(OSError):  # it has ended, or may not: then it runs as it is
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness_of(component))
