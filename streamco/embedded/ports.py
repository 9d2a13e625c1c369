"""Loopback ports: is one free, and which process holds it if not."""

import socket

import psutil

from streamco.embedded.server import ServerError
from streamco.embedded.settings import LOOPBACK


def require_free_port(server: str, port: int, *, udp: bool = False) -> None:
    """Raise ServerError, naming the holder where it can be seen, when nothing could listen on this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as trial:
        if not udp:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not hinder
        try:
            trial.bind((LOOPBACK, port))
            if not udp:
                trial.listen(1)
        except OSError as error:
            kind = "UDP port" if udp else "port"
            holder = _holder(port, udp=udp)
            raise ServerError(
                f"{kind} {port} for {server} is not free{holder} ({error.strerror}); free it or set another port"
            ) from error


def _holder(port: int, *, udp: bool) -> str:
    try:
        listening = psutil.net_connections("udp" if udp else "tcp")
    except psutil.Error:
        return ""  # another user's sockets may be hidden: the message then lacks the name
    for one in listening:
        if (udp or one.status == psutil.CONN_LISTEN) and one.laddr and one.laddr.port == port and one.pid:
            try:
                return f": process {one.pid} ({psutil.Process(one.pid).name()}) has it"
            except psutil.Error:
                return f": process {one.pid} has it"
    return ""
