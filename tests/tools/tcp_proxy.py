"""A TCP proxy for faults: it delays, stalls, half-closes and cuts, in either direction, on command or at a given byte.

    with TcpProxy(("127.0.0.1", 5432)) as proxy:
        connect to proxy.address
        proxy.trap(Trap("up", b"COMMIT", "answer"))   the COMMIT arrives, its answer is lost
        proxy.stall("down"); proxy.go_on("down"); proxy.away(); proxy.back(); proxy.cut()

"up" is from client to server. Everything is bounded: connections, buffers, stalls; closing it ends every thread.
"""

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Literal

Direction = Literal["up", "down"]
When = Literal["before", "half", "after", "answer"]
MAX_CONNECTIONS: Final = 128
CHUNK_BYTES: Final = 65_536
MAX_STALL_SECONDS: Final = 300.0
CONNECT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02


@dataclass
class Trap:
    """Cuts a connection where `pattern` goes by: before it, in the middle of it, after it, or at the first byte back.

    "answer": what was asked is done, and nobody is told. It works `times` times; `sprung` counts.
    """

    direction: Direction
    pattern: bytes
    when: When
    times: int = 1
    sprung: int = 0


@dataclass
class _Way:
    """What happens to bytes of one direction, of all connections."""

    open: threading.Event = field(default_factory=threading.Event)
    delay_seconds: float = 0.0
    cut_after_bytes: int | None = None  # of each connection


class _Pair:
    """One client and its connection to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets: dict[Direction, socket.socket] = {"up": client, "down": server}  # read from
        self.answer_trap: Trap | None = None
        self._guard = threading.Lock()
        self.closed = False

    def to(self, direction: Direction) -> socket.socket:
        return self.sockets["down" if direction == "up" else "up"]

    def cut(self, spared: socket.socket | None = None) -> bool:
        """Both sides at once, by a reset. False: it was closed already.

        A reset overtakes what was sent: a side to be `spared` it reads all that it was sent, and then an end.
        """
        with self._guard:
            if self.closed:
                return False
            self.closed = True
        for one in self.sockets.values():
            with contextlib.suppress(OSError):
                if one is not spared:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes whoever reads it
            one.close()
        return True


class TcpProxy:
    """Listens on a free port of 127.0.0.1 and passes every connection on to `target`. A context manager."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._ways: dict[Direction, _Way] = {"up": _Way(), "down": _Way()}
        for way in self._ways.values():
            way.open.set()
        self._guard = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._traps: list[Trap] = []
        self._closed = threading.Event()
        self._away = threading.Event()
        self.connections = self.cuts = 0
        self.bytes: dict[Direction, int] = {"up": 0, "down": 0}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._acceptor = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> "TcpProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut everything and end."""
        self._closed.set()
        for way in self._ways.values():
            way.open.set()
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)

    def trap(self, trap: Trap) -> Trap:
        """Set a trap."""
        with self._guard:
            self._traps.append(trap)
        return trap

    def cut(self) -> int:
        """Reset every connection; how many there were."""
        with self._guard:
            pairs = list(self._pairs)
        count = sum(pair.cut() for pair in pairs)
        self.cuts += count
        return count

    def stall(self, direction: Direction) -> None:
        """Let nothing through this way until `go_on`: connections stay up, and nothing arrives."""
        self._ways[direction].open.clear()

    def go_on(self, direction: Direction) -> None:
        """What was stalled flows again, nothing of it lost."""
        self._ways[direction].open.set()

    def delay(self, direction: Direction, seconds: float) -> None:
        """Hold each piece of data for so long."""
        self._ways[direction].delay_seconds = seconds

    def cut_after(self, direction: Direction, count: int | None) -> None:
        """Cut each connection when so many bytes of it have gone this way (None: no more)."""
        self._ways[direction].cut_after_bytes = count

    def half_close(self, direction: Direction) -> None:
        """Tell the receivers of this way that no more will come, and let the other way live."""
        with self._guard:
            pairs = list(self._pairs)
        for pair in pairs:
            with contextlib.suppress(OSError):
                pair.to(direction).shutdown(socket.SHUT_WR)

    def away(self) -> None:
        """As a server that is not there: connections are cut, new ones at once."""
        self._away.set()
        self.cut()

    def back(self) -> None:
        """The server is there again."""
        self._away.clear()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._guard:
                full = len(self._pairs) >= MAX_CONNECTIONS
            if full or self._away.is_set():
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target, CONNECT_SECONDS)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._guard:
                self._pairs.add(pair)
                self.connections += 1
            if self._closed.is_set() or self._away.is_set():
                pair.cut()
            threads = [threading.Thread(target=self._pump, args=(pair, way), daemon=True) for way in self._ways]
            for thread in threads:
                thread.start()
            threading.Thread(target=self._bury, args=(pair, threads), daemon=True).start()

    def _bury(self, pair: _Pair, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join()
        pair.cut()
        with self._guard:
            self._pairs.discard(pair)

    def _pump(self, pair: _Pair, direction: Direction) -> None:
        tail, passed = b"", 0
        while True:
            try:
                data = pair.sockets[direction].recv(CHUNK_BYTES)
            except OSError:
                pair.cut()
                return
            if not data:
                with contextlib.suppress(OSError):
                    pair.to(direction).shutdown(socket.SHUT_WR)
                return
            if not self._hold(pair, direction):
                return
            trap, keep = self._look(pair, direction, tail, data)
            limit = self._ways[direction].cut_after_bytes
            if limit is not None and passed + keep >= limit:
                keep, trap = max(0, limit - passed), trap or Trap(direction, b"", "after")
            awaited = trap is not None and trap.when == "answer" and direction == trap.direction
            if awaited:
                pair.answer_trap = trap  # before it is asked: the answer may be quick
            try:
                pair.to(direction).sendall(data[:keep])
            except OSError:
                pair.cut()
                return
            passed += keep
            with self._guard:
                self.bytes[direction] += keep
            if trap is not None and not awaited:
                self.cuts += not pair.closed  # before: whoever sees the cut sees it counted
                pair.cut(spared=pair.to(direction))
                return
            tail = (tail + data)[-256:]

    def _hold(self, pair: _Pair, direction: Direction) -> bool:
        """Delay and stall; False when the connection has gone meanwhile."""
        way = self._ways[direction]
        until = time.monotonic() + way.delay_seconds
        while time.monotonic() < until and not pair.closed:
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + MAX_STALL_SECONDS
        while not way.open.wait(_POLL_SECONDS):
            if pair.closed or time.monotonic() > deadline:
                pair.cut()
                return False
        return not pair.closed

    def _look(self, pair: _Pair, direction: Direction, tail: bytes, data: bytes) -> tuple[Trap | None, int]:
        """The trap that springs in this piece of data, and how many bytes of it go through."""
        with self._guard:
            if pair.answer_trap is not None and direction != pair.answer_trap.direction:
                pair.answer_trap.sprung += 1
                return pair.answer_trap, 0
            for trap in self._traps:
                if trap.direction != direction or trap.times <= 0:
                    continue
                seen = tail[-(len(trap.pattern) - 1) :] if len(trap.pattern) > 1 else b""
                at = (seen + data).find(trap.pattern)
                if at < 0:
                    continue
                trap.times -= 1
                start = max(0, at - len(seen))
                if trap.when == "answer":
                    return trap, len(data)
                trap.sprung += 1
                end = at - len(seen) + len(trap.pattern)
                return trap, {"before": start, "half": (start + end) // 2, "after": len(data)}[trap.when]
        return None, len(data)


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
