"""When a journal file is rotated, and when it may be deleted. Names and rules; the files themselves are not read here.

A file is deleted only if it is sealed (nobody writes to it, all of it is relayed and counted), posted (its legs are in
the ledger, or were discarded as dead letters), older than it is to be kept, no longer than when it was sealed, and no
call is up that began in its time: a crash would be closed by what stands in it.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from agent.journal.marks import LIVE_NAME, AgentState, Found
from agent.journal.rows import Segment
from agent.restart.last_heartbeat import LastHeartbeat

_FRESH_MS: Final = 60_000  # an older heartbeat says nothing about the calls that are up


def rotate(directory: Path, now: float) -> str:
    """Give the live file the name of this moment (unix seconds); the next line makes a new one. Raises OSError.

    Asterisk opens the journal anew for every line; the simulator looks whether it is still there.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    name = f"{LIVE_NAME}.{stamp}"
    number = 0
    while (directory / name).exists():
        number += 1
        name = f"{LIVE_NAME}.{stamp}-{number}"
    (directory / LIVE_NAME).rename(directory / name)
    return name


def is_to_rotate(live: Found, segment: Segment | None, now: datetime, limit_bytes: int, limit_seconds: float) -> bool:
    """Whether the live file is large or old enough."""
    if not live.size:
        return False
    if live.size >= limit_bytes:
        return True
    return (
        segment is not None
        and segment.seen_at is not None
        and now - segment.seen_at >= timedelta(seconds=limit_seconds)
    )


def is_relayed(state: AgentState, found: Found, file: str) -> bool:
    """Whether Kafka has acknowledged all of a file."""
    return any((mark.inode, mark.head, mark.offset) == (found.inode, file, found.size) for mark in state.files)


def is_to_delete(segment: Segment, found: Found, keep_seconds: float, up: LastHeartbeat | None, now: datetime) -> bool:
    """Whether a file may go. `up`: the last heartbeat of the epoch before which all calls have been closed."""
    if segment.sealed_at is None or segment.posted_at is None or found.size != segment.bytes:
        return False
    if now - segment.sealed_at < timedelta(seconds=keep_seconds):
        return False
    if up is None or abs(now.timestamp() * 1000 - up.at_ms) > _FRESH_MS:
        return False
    return all(began > found.modified_ns / 1e9 for began in _began_at(up.calls))


def _began_at(calls: Iterable[str]) -> Iterable[float]:
    """Unix seconds of the beginning of each call, as its id has it."""
    return (float(call_id.rpartition("-")[2].partition(".")[0]) for call_id in calls)
