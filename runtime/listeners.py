"""Whose server it is that listens at a port of this machine: asked before it is told a password.

Any local user may take a port while our own server is being started again, and would be given the password of each
process of ours that comes back to it. PostgreSQL and Kafka have passwords proved (SCRAM); HTTP has them told.
"""

import os
import socket
from pathlib import Path
from typing import Final

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"
_ROOT: Final = 0


def users_listening(table: str, port: int) -> dict[str, set[int]]:
    """Local address: the users whose sockets listen there at this port. `table`: the text of /proc/net/tcp."""
    found: dict[str, set[int]] = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, number = fields[1].rpartition(":")
        if fields[3] == _LISTENING and int(number, 16) == port:
            found.setdefault(address, set()).add(int(fields[7]))
    return found


def require_own(port: int, user: int) -> None:
    """Raise ConnectionError unless it is this user, ourselves or root who listens at this port of 127.0.0.1.

    To be asked when one is connected: the listener is the one who took the connection. Where the system has no such
    table everybody is believed.
    """
    own = int.from_bytes(socket.inet_aton("127.0.0.1"), "little")
    try:
        found = {
            address: users for path in _TABLES for address, users in users_listening(path.read_text(), port).items()
        }
    except OSError:
        return
    nearest = found.get(f"{own:08X}") or set().union(*found.values())
    if not nearest or not nearest <= {user, os.geteuid(), _ROOT}:
        whose = ", ".join(map(str, sorted(nearest))) or "nobody"
        raise ConnectionRefusedError(
            f"port {port} is listened at by user {whose}, not {user}: no password is told there"
        )
