"""The process that `streamco up` leaves behind: `python -m streamco.supervisor.daemon DESCRIPTOR`.

On the descriptor (a pipe) it tells `up` what happens, as JSON lines: {"progress": text}, {"first_login": {…}}, and last
{"ready": true} or {"error": text}. Then it stays until SIGTERM. Every secret comes on its standard input.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

import structlog

from streamco.children import settings_with
from streamco.embedded.server import ServerError
from streamco.handover import taken
from streamco.logs import configure_logs
from streamco.settings import SettingsError
from streamco.stack import Stack

log = structlog.get_logger(__name__)


class _Teller:
    """Writes to the pipe as long as somebody listens."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w")
        self._guard = threading.Lock()

    def tell(self, message: dict[str, Any]) -> None:
        with self._guard:
            try:
                self._file.write(json.dumps(message) + "\n")
                self._file.flush()
            except (OSError, ValueError):
                return  # whoever asked has gone: the log has it

    def progress(self, text: str) -> None:
        log.info("progress", text=text)
        self.tell({"progress": text})

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            return


def main(descriptor: int) -> int:
    """Run until SIGTERM; the exit code."""
    configure_logs("supervisor")
    teller = _Teller(descriptor)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        stack = Stack(settings_with(taken()), teller.progress)
        stack.start(interrupted=stop.is_set, greet=lambda login: teller.tell({"first_login": asdict(login)}))
    except (ServerError, SettingsError) as error:
        log.error("not started", error=str(error))  # noqa: TRY400
        teller.tell({"error": str(error)})
        return 1
    teller.tell({"ready": True})
    teller.close()
    stop.wait()
    log.info("supervisor ends")
    stack.supervisor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
