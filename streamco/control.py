"""`up`, `down` and `status` as functions: they talk to the supervisor by its pid file, its status file and a pipe."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from streamco.embedded.server import Progress, ServerError
from streamco.pidfile import end_process, living, read_pid
from streamco.places import Places
from streamco.settings import Settings, environment_of
from streamco.stack import FirstLogin
from streamco.supervisor.component import Status
from streamco.supervisor.supervisor import end_orphans

STATUS_OLD_SECONDS: Final = 15.0
DOWN_SECONDS: Final = 180.0
_ROOT: Final = Path(__file__).resolve().parent.parent


def up(settings: Settings, progress: Progress, greet: Callable[[FirstLogin], None] = lambda _: None) -> None:
    """Start a supervisor that stays, and return when everything is healthy. Raises ServerError.

    `greet` gets the first administrator as soon as he is made.
    """
    places = Places(settings)
    places.make()
    if (holder := living(read_pid(places.supervisor_pid))) is not None:
        raise ServerError(
            f"{settings.home} is in use: a supervisor (process {holder.pid}) runs there already; "
            "`streamco status` shows it, `streamco down` stops it"
        )
    reading, writing = os.pipe()
    with places.log("supervisor").open("ab") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "streamco.supervisor.daemon", str(writing)],
            env=environment_of(settings),
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            for line in told:
                message = json.loads(line)
                if "progress" in message:
                    progress(message["progress"])
                elif "first_login" in message:
                    greet(FirstLogin(**message["first_login"]))
                elif "error" in message:
                    daemon.wait(DOWN_SECONDS)
                    raise ServerError(message["error"])
                elif message.get("ready"):
                    return
    except KeyboardInterrupt:
        progress("interrupted: stopping what was started")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(DOWN_SECONDS)
        raise
    raise ServerError(f"the supervisor ended (code {daemon.wait(30)}); its log: {places.log('supervisor')}")


def down(settings: Settings, progress: Progress) -> bool:
    """Stop what runs in this home, and only that. False: nothing ran."""
    places = Places(settings)
    process = living(read_pid(places.supervisor_pid))
    if process is None:
        return bool(end_orphans(places, progress)) if places.run.exists() else False
    progress(f"stopping the supervisor (process {process.pid}) and what it started")
    by_itself = end_process(process, signal.SIGTERM, DOWN_SECONDS)
    if not by_itself:
        progress(f"the supervisor did not end in {DOWN_SECONDS:.0f} s and was killed")
        end_orphans(places, progress)
    return True


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


def _unknown(component: dict[str, Any], age_seconds: float) -> dict[str, Any]:
    return component | {"state": "failed", "detail": f"the supervisor has not written for {age_seconds:.0f} s"}


def _unsupervised(places: Places, status: Status) -> Status:
    values = asdict(status)
    process = living(read_pid(places.pid(status.name)))
    if process is not None:
        detail = "runs, but the supervisor is gone: `streamco up` or `streamco down`"
        return Status(**{**values, "state": "failed", "pid": process.pid, "detail": detail})
    return Status(**{**values, "state": "stopped", "pid": None, "detail": ""})
