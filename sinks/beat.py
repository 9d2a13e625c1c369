"""A process says that it does its work by touching a small file; the supervisor reads its age and its word.

Only what has really been done may be reported: a beat is sent after the work of a round, never beside it.
"""

import json
import os
import time
from pathlib import Path

from sinks.metrics import SUFFIX, write_metrics


def send_beat(path: Path | None, *, ok: bool = True, detail: str = "") -> None:
    """Write the beat file whole (rename), with the unix time in it, and now and then the process's metrics beside it.

    Without a path it does nothing.
    """
    if path is None:
        return
    beat = {"at": time.time(), "pid": os.getpid(), "ok": ok, "detail": detail[:500]}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(beat))
    part.replace(path)
    write_metrics(path.with_suffix(SUFFIX))
