"""What `streamco status` shows: the supervisor's status file, and whether anybody still writes it.

By itself and without what a stack imports, so that the command answers at once.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from streamco.pidfile import living, read_pid
from streamco.places import Places
from streamco.settings import Settings
from streamco.supervisor.component import Status

STATUS_OLD_SECONDS: Final = 15.0


def read_status(settings: Settings, *, now: Callable[[], float] = time.time) -> dict[str, Any]:
    """What `status --json` prints. A supervisor that is gone or stuck is no `ok`, whatever its file says."""
    places = Places(settings)
    try:
        document: dict[str, Any] = json.loads(places.status.read_text())
        age_seconds = now() - places.status.stat().st_mtime
    except FileNotFoundError:
        return {"ok": False, "components": []}
    if living(read_pid(places.supervisor_pid)) is not None:
        if age_seconds > STATUS_OLD_SECONDS:
            return {"ok": False, "components": [_unknown(one, age_seconds) for one in document["components"]]}
        return document
    components = [_unsupervised(places, Status(**one)) for one in document["components"]]
    return {"ok": False, "components": [asdict(one) for one in components]}


def faults(document: Mapping[str, Any]) -> list[str]:
    """What a status says is wrong, a line each: the alarm, then each component that is not simply at work."""
    alarm = [str(document["alarm"])] if document.get("alarm") else []
    return alarm + [
        f"{one['name']}: {one['state']}" + (f": {one['detail']}" if one["detail"] else "")
        for one in document["components"]
        if one["state"] not in ("healthy", "external")
    ]


def _unknown(component: dict[str, Any], age_seconds: float) -> dict[str, Any]:
    return component | {"state": "failed", "detail": f"the supervisor has not written for {age_seconds:.0f} s"}


def _unsupervised(places: Places, status: Status) -> Status:
    values = asdict(status)
    process = living(read_pid(places.pid(status.name)))
    if process is not None:
        detail = "runs, but the supervisor is gone: `streamco up` or `streamco down`"
        return Status(**{**values, "state": "failed", "pid": process.pid, "detail": detail})
    return Status(**{**values, "state": "stopped", "pid": None, "detail": ""})
