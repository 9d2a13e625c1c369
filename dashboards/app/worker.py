"""gunicorn's worker with threads, made so that nobody who is slow takes a thread, or the loop that accepts.

gunicorn gives a connection a thread at its first byte and waits there for the rest, however long that takes; what it
closes it waits for in the loop itself, two seconds each. So a dozen connections of one stranger that send a byte a
second, or that never close their end, and nobody is served. Here:

    a request that has not come whole     waits in the loop, which costs nobody a thread; its time and size are bounded
    too many connections                  the one goes whose request has been coming for longest
    a request behind an answer            waits in the loop until that is taken, 15 s at most, so that its own has room
    an answer that nobody takes           is cut off, soon where threads are scarce
    a connection that is to be closed     waits for its other end beside the loop

`STREAMCO_DASHBOARDS_BEHIND_HTTPS`'s proxy does much of that, but nothing says that there is one.
"""

import errno
import fcntl
import selectors
import socket
import struct
import termios
import time
from collections import deque
from functools import partial
from typing import Any, Final

import msgspec
from gunicorn.workers.gthread import TConn, ThreadWorker

from dashboards.app.whole_requests import Coming, State
from dashboards.kit.problems import MIMETYPE, Problem
from runtime.metrics import Bounded

REQUEST_SECONDS: Final = 15.0
MAX_CONNECTIONS: Final = 500
MAX_HELD_BYTES: Final = 64 << 20
# An answer to a stranger (login, style, fonts) fits into the third of it that is free when a socket can be written.
_SEND_BYTES: Final = 512 << 10
_READ_BYTES: Final = 65_536
_LINGER_SECONDS: Final = 2.0
_LINGER_READS: Final = 4
_MOST_LINGERING: Final = 100
_SLOW_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.5
_UNSENT_SECONDS: Final = 60.0
_UNSENT_SECONDS_BUSY: Final = 3.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSED: Final[dict[State, tuple[int, str]]] = {
    "head too large": (431, "Request Header Fields Too Large"),
    "body too large": (413, "Content Too Large"),
}
CONNECTIONS: Final = Bounded(
    "dashboards_connections", "Open connections; at the bound the slowest one that has sent no whole request goes."
)


class _Connection(TConn):  # type: ignore[misc]
    """A connection: `coming` is what has come of its next request, until `until` (monotonic seconds)."""

    def __init__(self, worker: "PatientWorker", sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self._worker = worker
        self.coming = Coming()
        self.until = 0.0
        self.unsent_since: float | None = None

    def close(self, graceful: bool = False) -> None:
        """Close it. `graceful`: what was answered arrives, even where more has been sent than was read."""
        if graceful:
            self._worker.linger(self.sock)
        else:
            super().close()


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """See the module. All but `handle` runs in the worker's one loop."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._coming: dict[_Connection, None] = {}  # those without a whole request, the oldest first
        self._busy: dict[_Connection, None] = {}  # those that have a thread, or wait for one
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._held_bytes = 0
        self._looked_at = 0.0
        CONNECTIONS.watch(self.worker_connections, lambda: self.nr_conns)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection; at the bound another one goes."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # else it would end this process, with all who are served
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        self.enqueue_req(_Connection(self, sock, client, listener.getsockname()))
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def enqueue_req(self, conn: _Connection) -> None:
        """A thread for a connection as soon as its next request has come whole."""
        conn.coming, conn.until = Coming(), time.monotonic() + REQUEST_SECONDS
        conn.sock.setblocking(False)
        self._coming[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._read, conn))
        if conn.parser is not None and (left := conn.parser.unreader.take_buffered()):
            self._add(conn, left)

    def finish_request(self, conn: _Connection, fs: Any) -> None:
        """Its thread is free again."""
        self._busy.pop(conn, None)
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """End what is past its time. It is called after every event, and every second."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        super().murder_pending()
        while self._coming:
            conn = next(iter(self._coming))
            if conn.until > now and (self.alive or conn.coming.data):
                break
            self._drop(conn)
        while self._lingering and self._lingering[0][0] <= now:
            self._lingering.popleft()[1].close()
        self._cut_off(now)

    def linger(self, sock: socket.socket) -> None:
        """Close a socket of which all is sent, when the other end has had time to read it."""
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            for _ in range(_LINGER_READS):
                if not sock.recv(_READ_BYTES):
                    break
        except BlockingIOError:
            self._lingering.append((time.monotonic() + _LINGER_SECONDS, sock))
            if len(self._lingering) > _MOST_LINGERING:
                self._lingering.popleft()[1].close()
        except OSError:
            sock.close()
        else:
            sock.close()

    def on_client_socket_readable(self, conn: _Connection, client: socket.socket) -> None:
        """A kept connection asks again, unless it had to make room since the loop was told."""
        if conn in self.keepalived_conns:
            super().on_client_socket_readable(conn, client)

    def _read(self, conn: _Connection, _: Any) -> None:
        if conn not in self._coming:  # it had to make room since the loop was told of it
            return
        try:
            more = conn.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if more:
            self._add(conn, more)
        else:
            self._drop(conn)

    def _add(self, conn: _Connection, more: bytes) -> None:
        before = len(conn.coming.data)
        state = conn.coming.add(more)
        self._held_bytes += len(conn.coming.data) - before
        if state in _REFUSED:
            _send(conn.sock, _refusal(*_REFUSED[state]))
            self._drop(conn, graceful=True)
        elif state == "whole":
            if conn.parser is None:
                self._hand_over(conn)
            else:  # nothing more is read of it meanwhile, and it has its time as any other that is not whole
                self.poller.modify(conn.sock, selectors.EVENT_WRITE, partial(self._has_room, conn))
        elif conn.coming.expects:
            conn.coming.expects = False
            _send(conn.sock, _CONTINUE)
        while self._held_bytes > MAX_HELD_BYTES:
            self._make_room()

    def _has_room(self, conn: _Connection, _: Any) -> None:
        if conn in self._coming:
            self._hand_over(conn)

    def _hand_over(self, conn: _Connection) -> None:
        self._release(conn)
        conn.init()
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(conn.coming.data))
        conn.coming, conn.unsent_since = Coming(), None
        self._busy[conn] = None
        super().enqueue_req(conn)

    def _release(self, conn: _Connection) -> None:
        del self._coming[conn]
        self._held_bytes -= len(conn.coming.data)
        self.poller.unregister(conn.sock)

    def _drop(self, conn: _Connection, *, graceful: bool = False) -> None:
        self._release(conn)
        self.nr_conns -= 1
        conn.close(graceful)

    def _make_room(self) -> None:
        """Let the connection go that has kept us waiting for longest; where none has for long, the idlest of others."""
        CONNECTIONS.lose()
        slowest = next(iter(self._coming), None)
        is_slow = slowest is not None and slowest.until - time.monotonic() < REQUEST_SECONDS - _SLOW_SECONDS
        if self.keepalived_conns and not is_slow:
            self.keepalived_conns[0].timeout = 0.0
            self.murder_keepalived()
        elif slowest is not None:
            self._drop(slowest)

    def _cut_off(self, now: float) -> None:
        """End answers that nobody takes: a thread waits with each."""
        bound = _UNSENT_SECONDS if len(self._busy) < self.cfg.threads else _UNSENT_SECONDS_BUSY
        for conn in self._busy:
            if not _unsent(conn.sock):
                conn.unsent_since = None
            elif conn.unsent_since is None:
                conn.unsent_since = now
            elif now - conn.unsent_since > bound:
                try:
                    conn.sock.shutdown(socket.SHUT_RDWR)  # its thread sees the end, and lets go of it
                except OSError:
                    conn.unsent_since = None


def _send(sock: socket.socket, text: bytes) -> None:
    try:
        sock.send(text)
    except OSError:  # it is gone, or takes nothing: its next reading says so
        return


def _unsent(sock: socket.socket) -> int:
    """Bytes that the kernel has not been able to send yet; 0 where it does not say."""
    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    except (OSError, ValueError):
        return 0
    return int(waiting)


def _refusal(status: int, title: str) -> bytes:
    body = msgspec.json.encode(Problem(title=title, status=status, detail="The request is larger than any of a page."))
    return (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: {MIMETYPE}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode() + body
