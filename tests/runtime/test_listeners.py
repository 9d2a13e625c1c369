"""Whose server listens at a port: a password is told to our own alone."""

import os
import socket
import threading

import pytest
from clickhouse_connect.driver.exceptions import OperationalError
from port_taker import clients_of
from pydantic import SecretStr

from runtime import listeners
from runtime.clickhouse import connect
from runtime.connections import ClickHouse
from runtime.listeners import require_own, users_listening

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:6938 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 7117778 1 0 100 0 0 10 0
   1: 00000000:6938 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 562 1 0 100 0 0 10 0
   2: 0100007F:6938 0100007F:1234 01 00000000:00000000 00:00000000 00000000    44        0 563 1 0 100 0 0 10 0
   3: 0100007F:636B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7130096 1 0 100 0 0 10 0
"""


def test_who_listens_is_read_as_the_kernel_writes_it() -> None:
    assert users_listening(TABLE, 0x6938) == {"0100007F": {1000}, "00000000": {33}}
    assert users_listening(TABLE, 0x636B) == {"0100007F": {0}}
    assert users_listening(TABLE, 1) == {}


def test_a_server_of_ours_is_known_by_its_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_own(server.getsockname()[1], os.geteuid())
    with pytest.raises(ConnectionRefusedError, match="by user nobody"):
        require_own(1, os.geteuid())


def test_a_server_of_somebody_elses_is_told_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's table says that our listener is another user's: as if that one had taken the port."""
    got: list[bytes] = []

    def thief(server: socket.socket) -> None:
        for client in clients_of(server):
            got.append(client.recv(4096))

    read = listeners.users_listening
    monkeypatch.setattr(
        listeners, "users_listening", lambda table, port: {address: {4_000_000} for address in read(table, port)}
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=thief, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OperationalError, match="listened at by user 4000000"):
            connect(ClickHouse(url=url, user="streamco", password=SecretStr("hidden"), run_by=os.geteuid()))
        server.shutdown(socket.SHUT_RDWR)
    assert [sent for sent in got if sent] == []
