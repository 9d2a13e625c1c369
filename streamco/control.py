"""`up` and `down` as functions: they talk to the supervisor by its pid file and a pipe."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from streamco.children import environment_of, secrets_of
from streamco.embedded.server import Progress, ServerError
from streamco.handover import standard_input
from streamco.home import close_new_files, require_own
from streamco.own_packages import require_own_packages
from streamco.pidfile import end_process, living, read_pid
from streamco.places import Places
from streamco.settings import Settings
from streamco.stack import FirstLogin
from streamco.supervisor.supervisor import end_orphans

DOWN_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 60.0
_ROOT: Final = Path(__file__).resolve().parent.parent


def up(settings: Settings, progress: Progress, greet: Callable[[FirstLogin], None] = lambda _: None) -> None:
    """Start a supervisor that stays, and return when everything is healthy. Raises ServerError.

    `greet` gets the first administrator as soon as he is made.
    """
    require_own_packages()
    close_new_files()
    require_own(settings.home)
    places = Places(settings)
    places.make()
    if (holder := living(read_pid(places.supervisor_pid))) is not None:
        raise ServerError(
            f"{settings.home} is in use: a supervisor (process {holder.pid}) runs there already; "
            "`streamco status` shows it, `streamco down` stops it"
        )
    reading, writing = os.pipe()
    with places.log("supervisor").open("ab") as output, standard_input(secrets_of(settings)) as given:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "streamco.supervisor.daemon", str(writing)],
            env=environment_of(settings),
            cwd=_ROOT,
            stdin=given,
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


def end_by_sigterm() -> None:
    """SIGTERM ends this process as Ctrl-C does: what was started is stopped first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def stay(settings: Settings, progress: Progress) -> None:
    """Until Ctrl-C, or SIGTERM after `end_by_sigterm`: then everything is stopped. Raises ServerError.

    It is one when the supervisor ends before.
    """
    places = Places(settings)
    supervisor = living(read_pid(places.supervisor_pid))
    try:
        while supervisor is not None and supervisor.is_running():
            with contextlib.suppress(psutil.TimeoutExpired):
                supervisor.wait(_LOOK_SECONDS)
    except KeyboardInterrupt:
        down(settings, progress)
        return
    raise ServerError(f"the supervisor has ended; its log: {places.log('supervisor')}")


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
