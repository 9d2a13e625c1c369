"""Health by doing what a process is for. Each check returns, or raises ServerError with the reason, within seconds."""

import http.client
import json
import socket
import sys
import time
from pathlib import Path
from typing import Final, Literal

from streamco.embedded.server import ServerError

BEAT_OLD_SECONDS: Final = 15.0
_ANSWER_SECONDS: Final = 3.0


def check_beat(path: Path, pid: int | None) -> str:
    """A fresh beat of this very process (any process when `pid` is None), that says it is at work.

    Out: what of its work it cannot do (see `send_beat`); empty: nothing.
    """
    try:
        beat = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ServerError("has not done any work yet") from error
    except (OSError, ValueError) as error:
        raise ServerError(f"its beat cannot be read: {error}") from error
    if pid is not None and beat.get("pid") != pid:
        raise ServerError("has not done any work yet")
    age_seconds = time.time() - beat["at"]
    if age_seconds > BEAT_OLD_SECONDS:
        raise ServerError(f"has done nothing for {age_seconds:.0f} s ({beat.get('detail', '')})")
    if not beat.get("ok", True):
        raise ServerError(beat.get("detail") or "says that it cannot work")
    return str(beat.get("degraded", ""))


def check_router(host: str, port: int) -> None:
    """A whole AGI session, as Asterisk would open it, to the script that decides nothing."""
    request = b"agi_network: yes\nagi_network_script: ping\nagi_request: agi://streamco/ping\n\n"
    try:
        with socket.create_connection((host, port), _ANSWER_SECONDS) as connection:
            connection.sendall(request)
            stream = connection.makefile("rb")
            command = stream.readline(1024)
            if not command.startswith(b"NOOP"):
                raise ServerError(f"answers {command[:40]!r} to a ping")
            connection.sendall(b"200 result=0\n")
            stream.read(1024)
    except OSError as error:
        raise ServerError(f"does not answer: {error}") from error


def router_degraded(beat: Path) -> str:
    """What a router that answers cannot do, by its beat, which begins with its first snapshot."""
    if not beat.exists():
        return "no snapshot of the configuration yet: calls are refused (ROUTER UNAVAILABLE)"
    return beat_detail(beat, "degraded")


def check_page(host: str, port: int, path: str) -> None:
    """A page answers 200."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"does not answer: {error!r}") from error
    finally:
        connection.close()
    if status != 200:
        raise ServerError(f"answers {status} to GET {path}")


def beat_detail(path: Path, field: Literal["detail", "degraded"] = "detail") -> str:
    """What the last beat says; empty without one."""
    try:
        return str(json.loads(path.read_text()).get(field, ""))
    except (OSError, ValueError):
        return ""


def main(arguments: list[str]) -> None:
    """`python -m streamco.health router HOST:PORT | beat COMPONENT | page HOST:PORT/PATH`; code 1 with the reason."""
    from streamco.places import Places
    from streamco.settings import read_settings

    kind, what = arguments
    try:
        if kind == "beat":
            check_beat(Places(read_settings()).beat(what), None)
        elif kind == "router":
            host, _, port = what.rpartition(":")
            check_router(host, int(port))
        elif kind == "page":
            address, _, path = what.partition("/")
            host, _, port = address.rpartition(":")
            check_page(host, int(port), f"/{path}")
        else:
            sys.exit(f"{kind!r}: must be router, beat or page")
    except ServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
