"""Pid files that prove whose process it is: the pid with its start time and the command that we started.

A pid alone comes round again; a pid whose process began at another moment is somebody else's and is left alone.
"""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_START_TOLERANCE_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Identity:
    """A process of ours: `started_at` in unix seconds as the system counts it."""

    pid: int
    started_at: float


def write_pid(path: Path, pid: int) -> Identity:
    """Record a process that was just started. Raises psutil.NoSuchProcess when it is gone already."""
    identity = Identity(pid, psutil.Process(pid).create_time())
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"pid": identity.pid, "started_at": identity.started_at}) + "\n")
    part.replace(path)
    return identity


def read_pid(path: Path) -> Identity | None:
    """What the file says; None without a file, or with one that cannot be read."""
    try:
        data = json.loads(path.read_text())
        return Identity(int(data["pid"]), float(data["started_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def living(identity: Identity | None) -> psutil.Process | None:
    """The process, if it still is that one and no zombie."""
    if identity is None:
        return None
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started_at) < _START_TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def end_process(process: psutil.Process, sent: signal.Signals, seconds: float) -> bool:
    """Ask it to end, kill it after `seconds`; True when it went by itself."""
    try:
        process.send_signal(sent)
        process.wait(seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        try:
            process.kill()
            process.wait(10)
        except psutil.NoSuchProcess:
            return True
        return False
    return True
