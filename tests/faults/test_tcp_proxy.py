"""The proxy of the fault tests does to bytes what it says, and nothing else."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tcp_proxy import TcpProxy, Trap


class Echo:
    """A server that answers every line with it in capitals, and remembers all that it got."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.got = b""
        self.ends = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            line = b""
            try:
                while data := client.recv(65_536):
                    self.got += data
                    line += data
                    if line.endswith(b"\n"):
                        client.sendall(line.upper())
                        line = b""
                client.sendall(b"bye\n")  # the client ended its side, not the connection
            except OSError:
                return
            finally:
                self.ends += 1

    def await_end(self) -> None:
        deadline = time.monotonic() + 5
        while not self.ends:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.address) as one:
        yield one


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection(proxy.address, 5) as connection:
        connection.settimeout(5)
        yield connection


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


def test_bytes_pass_whole_both_ways_and_are_counted(client: socket.socket, proxy: TcpProxy) -> None:
    sent = b"x" * 300_000 + b"\n"
    threading.Thread(target=client.sendall, args=(sent,)).start()
    got = b""
    while len(got) < len(sent):
        got += client.recv(65_536)
    assert got == sent.upper()
    deadline = time.monotonic() + 10
    while proxy.bytes["down"] < len(sent) and time.monotonic() < deadline:
        time.sleep(0.01)  # it counts a piece when it has passed it on
    assert proxy.bytes == {"up": len(sent), "down": len(sent)}
    assert (proxy.connections, proxy.cuts) == (1, 0)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(10) == b"bye\n"
    assert client.recv(10) == b""


def test_a_cut_ends_both_sides(client: socket.socket, proxy: TcpProxy) -> None:
    client.sendall(b"a\n")
    assert client.recv(10) == b"A\n"
    assert proxy.cut() == 1
    assert ended(client)
    assert proxy.cuts == 1
    assert proxy.cut() == 0


@pytest.mark.parametrize(("way", "arrives"), [("up", b""), ("down", b"a\n")])
def test_a_stall_holds_back_and_loses_nothing(
    client: socket.socket, proxy: TcpProxy, echo: Echo, way: str, arrives: bytes
) -> None:
    proxy.stall("up" if way == "up" else "down")
    client.sendall(b"a\n")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(10)
    assert echo.got == arrives
    proxy.go_on("up" if way == "up" else "down")
    client.settimeout(5)
    assert client.recv(10) == b"A\n"


def test_a_delay_is_as_long_as_asked(client: socket.socket, proxy: TcpProxy) -> None:
    proxy.delay("down", 0.3)
    begun = time.monotonic()
    client.sendall(b"a\n")
    assert client.recv(10) == b"A\n"
    assert 0.3 <= time.monotonic() - begun < 2


def test_cut_after_so_many_bytes(client: socket.socket, proxy: TcpProxy, echo: Echo) -> None:
    proxy.cut_after("up", 5)
    client.sendall(b"abcdefgh\n")
    assert ended(client)
    echo.await_end()
    assert echo.got == b"abcde"
    assert proxy.cuts == 1


@pytest.mark.parametrize(
    ("when", "arrives"),
    [("before", b"one "), ("half", b"one COM"), ("after", b"one COMMIT two"), ("answer", b"one COMMIT two\n")],
)
def test_a_trap_springs_where_its_pattern_goes_by_even_in_pieces(
    client: socket.socket, proxy: TcpProxy, echo: Echo, when: str, arrives: bytes
) -> None:
    trap = proxy.trap(Trap("up", b"COMMIT", when))  # type: ignore[arg-type]
    if when in ("before", "half"):
        client.sendall(b"one COMMIT two")
    else:
        client.sendall(b"one COM")
        time.sleep(0.1)
        client.sendall(b"MIT two" + (b"\n" if when == "answer" else b""))
    assert ended(client)
    echo.await_end()
    assert echo.got == arrives
    assert (trap.sprung, proxy.cuts) == (1, 1)
    with socket.create_connection(proxy.address, 5) as again:  # once is once
        again.settimeout(5)
        again.sendall(b"COMMIT\n")
        assert again.recv(10) == b"COMMIT\n"


def test_half_closed_the_other_way_lives(client: socket.socket, proxy: TcpProxy, echo: Echo) -> None:
    client.sendall(b"a\n")
    assert client.recv(10) == b"A\n"
    proxy.half_close("up")
    assert client.recv(10) == b"bye\n"
    echo.await_end()


def refused(proxy: TcpProxy) -> bool:
    try:
        with socket.create_connection(proxy.address, 5) as client:
            client.settimeout(5)
            return ended(client)
    except ConnectionError:
        return True


def test_away_and_back(proxy: TcpProxy) -> None:
    proxy.away()
    assert refused(proxy)
    proxy.back()
    assert not proxy.cuts
    with socket.create_connection(proxy.address, 5) as client:
        client.settimeout(5)
        client.sendall(b"a\n")
        assert client.recv(10) == b"A\n"


def test_closing_it_leaves_no_thread(echo: Echo) -> None:
    before = threading.active_count()
    with TcpProxy(echo.address) as proxy:
        clients = [socket.create_connection(proxy.address, 5) for _ in range(5)]
        proxy.stall("up")
        for one in clients:
            one.sendall(b"a\n")
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for one in clients:
        one.close()
