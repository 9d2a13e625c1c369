"""A process says that it does its work by touching a small file; the supervisor reads its age and its word.

Only what has really been done may be reported: a beat is sent after the work of a round, never beside it.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import structlog

from runtime.disk import is_full
from runtime.metrics import SUFFIX, write_metrics

log = structlog.get_logger(__name__)


def send_beat(path: Path | None, *, ok: bool = True, detail: str = "", degraded: str = "") -> None:
    """Write the beat file whole (rename), with the unix time in it, and now and then the process's metrics beside it.

    `degraded`: what it cannot do while it does the rest, and what follows from that, for people. To start it again
    would not help. Not `ok`: it does nothing of use, and is started again. Without a path nothing is done.
    """
    if path is None:
        return
    beat = {"at": time.time(), "pid": os.getpid(), "ok": ok, "detail": detail[:500], "degraded": degraded[:500]}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(beat))
        part.replace(path)
        write_metrics(path.with_suffix(SUFFIX))
    except OSError as error:
        if not is_full(error):
            raise
        # Whoever still works must not be taken for dead: the last beat is written over, in its own room.
        log.error("a beat has no room: the disk is full", path=str(path), error=str(error))  # noqa: TRY400
        with suppress(OSError):
            _overwrite(path, beat)


def _overwrite(path: Path, beat: dict[str, object]) -> None:
    with path.open("r+b") as file:
        room = len(file.read())
        text = json.dumps(beat)
        if len(text) > room:
            text = json.dumps({**beat, "detail": "", "degraded": ""})
        if len(text) <= room:
            file.seek(0)
            file.write(text.ljust(room).encode())
