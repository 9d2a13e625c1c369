"""How rooms reach the embedded PostgreSQL: a password is proved, never told, whoever has the port."""

import socket
import struct
import threading
from pathlib import Path

import psycopg
import pytest
from port_taker import clients_of

from runtime.connections import Postgres
from schemas.postgres_roles import ROLES
from streamco.embedded.temporary import free_port
from streamco.postgres_access import maker, owner, postgres
from streamco.secret_store import with_secrets
from streamco.settings import Settings, read_settings

_LOOPBACK = "127.0.0.1"
_CLEARTEXT = 3
_MD5 = 5


def _thief(listener: socket.socket, wish: int, got: list[bytes]) -> None:
    """Has the port, asks whoever comes for the password, and keeps what it is sent."""
    for client in clients_of(listener):
        while (message := client.recv(4096)) and struct.unpack("!I", message[4:8])[0] == 80877103:  # wants TLS
            client.sendall(b"N")
        if message:
            client.sendall(b"R" + struct.pack("!II", 8 + 4 * (wish == _MD5), wish) + b"salt" * (wish == _MD5))
            got.append(client.recv(4096))


@pytest.mark.parametrize("wish", [_CLEARTEXT, _MD5])
def test_who_takes_the_port_is_told_no_password(tmp_path: Path, wish: int) -> None:
    port = free_port()
    with socket.create_server((_LOOPBACK, port)) as listener:
        got: list[bytes] = []
        threading.Thread(target=_thief, args=(listener, wish, got), daemon=True).start()
        settings: Settings = with_secrets(read_settings({"STREAMCO_HOME": str(tmp_path)}))
        settings = settings.model_copy(update={"postgres_port": port})
        ways: list[Postgres] = [maker(settings), owner(settings), *(postgres(settings, room) for room in ROLES)]
        for way in ways:
            with pytest.raises(psycopg.OperationalError, match="authentication method requirement"):
                psycopg.connect(way.dsn.get_secret_value(), connect_timeout=5)
        listener.shutdown(socket.SHUT_RDWR)
    assert [sent for sent in got if sent] == []
