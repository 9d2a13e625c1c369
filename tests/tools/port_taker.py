"""Somebody who has taken a server's port, and is told what clients send."""

import socket
from collections.abc import Iterator


def clients_of(listener: socket.socket) -> Iterator[socket.socket]:
    """Who comes, one after the other, until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.settimeout(5)
            yield client
