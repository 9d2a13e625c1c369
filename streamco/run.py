"""One process of ours: `python -m streamco.run [--secrets-on-stdin] NAME [WHICH]`.

Its settings come by the environment, its secrets on its standard input, as the supervisor gives them. Without the
option, as in a container or under systemd, secrets come from files (STREAMCO_…_FILE), the environment, or the home's
secrets.json. It has those that it needs, and no other.

WHICH of a router is its number, and `@` and a descriptor where it is given the listening socket that several share.

Ends with 0 when it was asked to end, otherwise with a message on stderr and a code that is not 0: the supervisor
starts it again.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

import structlog

from streamco import rooms
from streamco.children import forget_secrets, settings_with
from streamco.handover import taken
from streamco.home import close_new_files
from streamco.logs import configure_logs
from streamco.secret_store import kind_of, with_secrets
from streamco.settings import Settings, SettingsError, read_settings


def _router(settings: Settings, which: str) -> None:
    from router.server.main import run

    number, _, listener = which.partition("@")
    run(rooms.router(settings, int(number or 1), int(listener) if listener else None))


def _agent(settings: Settings, node: str) -> None:
    from agent.main import run

    run(rooms.agent(settings, node))


def _streams(settings: Settings, which: str) -> None:
    from streams.worker import run

    run(rooms.streams(settings, which))


def _auditor(settings: Settings, _which: str) -> None:
    from sinks.audit.continuous.main import run

    run(rooms.auditor(settings))


def _dashboards(settings: Settings, _which: str) -> None:
    from dashboards.app.serve import run

    run(rooms.dashboards(settings))


def _simulator(settings: Settings, _which: str) -> None:
    from simulator.main import run

    run(rooms.simulator(settings))


def _asterisk(settings: Settings, node: str) -> None:
    from configuration.asterisk.node import run

    run(rooms.asterisk(settings, node))


def _trickle(settings: Settings, _which: str) -> None:
    from simulator.sipp.traffic import run

    run(rooms.trickle(settings))


PROCESSES: Final[dict[str, Callable[[Settings, str], None]]] = {
    "router": _router,
    "node-agent": _agent,
    "streams": _streams,
    "auditor": _auditor,
    "dashboards": _dashboards,
    "simulator": _simulator,
    "asterisk": _asterisk,
    "trickle": _trickle,
}


ON_STDIN: Final = "--secrets-on-stdin"


def run(name: str, which: str = "", *, on_stdin: bool = False) -> None:
    """Be this process until it ends. Exits the interpreter with a code that is not 0 when it fails."""
    close_new_files()
    label = which.partition("@")[0]
    configure_logs(f"{name}-{label}" if label and (name, label) != ("router", "1") else name)
    log = structlog.get_logger(__name__)
    try:
        kind = kind_of(name, which)
        settings = settings_with(taken(), kind) if on_stdin else with_secrets(read_settings(), kind)
        forget_secrets(os.environ)
        PROCESSES[name](settings, which)
    except SettingsError as error:
        sys.exit(str(error))
    except Exception:
        # The one place where everything ends up: it is written down, and the process ends.
        log.exception("the process ends by an error")
        sys.exit(1)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    run(*(one for one in arguments if one != ON_STDIN), on_stdin=ON_STDIN in arguments)
