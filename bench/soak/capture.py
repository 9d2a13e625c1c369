"""Every UDP packet of a port on loopback, with the kernel's timestamps: a packet socket, read by a thread.

It needs CAP_NET_RAW, which root has; `why_not` says so. A filter in the kernel leaves all but the one port's packets
out. Packets that the kernel could not keep are counted: a count that is not 0 makes the capture worthless.
"""

import ctypes
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

from bench.soak.wire import Message, Packet, read_message

_ETH_P_IP: Final = 0x0800
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_HOST: Final = 0  # on loopback each packet passes twice: as it goes and as it comes
_SO_TIMESTAMPNS: Final = 35
_SO_ATTACH_FILTER: Final = 26
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 16 << 20
_LONGEST_BYTES: Final = 65_535
_WAIT_SECONDS: Final = 0.2
# The kernel begins to stamp some time after it is asked to; until then a packet has the time at which it is read.
_SETTLE_SECONDS: Final = 0.3
# IPv4 and UDP, no fragment; then source or destination port. Offsets are from the IP header (a SOCK_DGRAM socket).
_UDP: Final = 17
_FILTER: Final = (
    (0x30, 0, 0, 9),  # protocol
    (0x15, 0, 8, _UDP),
    (0x28, 0, 0, 6),  # flags and offset of fragments
    (0x45, 6, 0, 0x1FFF),
    (0xB1, 0, 0, 0),  # length of the IP header
    (0x48, 0, 0, 0),  # source port
    (0x15, 2, 0, None),
    (0x48, 0, 0, 2),  # destination port
    (0x15, 0, 1, None),
    (0x06, 0, 0, _LONGEST_BYTES),
    (0x06, 0, 0, 0),
)


def why_not() -> str | None:
    """Why packets cannot be seen here; None when they can."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)).close()
    except (OSError, AttributeError) as error:
        return f"packets on loopback are seen by root only (CAP_NET_RAW): {error}"
    return None


class Capture:
    """Begins at once; `packets` is what has come so far. Use as a context manager."""

    def __init__(self, port: int) -> None:
        """Of this UDP port. Raises OSError where `why_not` has a reason."""
        self._packets: list[Packet] = []
        self._messages: list[Message] = []
        self._read = 0
        self.dropped = 0
        self._ending = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # deaf until it is bound
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._attach(port)
        time.sleep(_SETTLE_SECONDS)
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(_WAIT_SECONDS)
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _attach(self, port: int) -> None:
        lines = b"".join(
            struct.pack("HBBI", code, true, false, port if value is None else value)
            for code, true, false, value in _FILTER
        )
        program = ctypes.create_string_buffer(lines, len(lines))
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_FILTER), ctypes.addressof(program))
        )

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                data, ancillary, _, address = self._socket.recvmsg(_LONGEST_BYTES, 64)
            except TimeoutError:
                continue
            if address[2] != _PACKET_HOST:
                continue
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            if (packet := read_packet(seconds * 1_000_000 + nanoseconds // 1000, data)) is not None:
                self._packets.append(packet)

    @property
    def packets(self) -> list[Packet]:
        """All so far, in the order of their time."""
        return sorted(self._packets, key=lambda packet: packet.at_us)

    def messages(self) -> list[Message]:
        """The SIP messages so far, in the order of their time. Each packet is read once, whoever asks again."""
        new = self._packets[self._read :]
        self._read += len(new)
        self._messages += [message for packet in new if (message := read_message(packet)) is not None]
        self._messages.sort(key=lambda message: message.at_us)
        return list(self._messages)

    def close(self) -> None:
        """See no more, and count what was dropped. Twice is as good as once."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._thread.join()
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += dropped
        self._socket.close()


def read_packet(at_us: int, data: bytes) -> Packet | None:
    """The UDP packet in an IPv4 packet; None where it is cut off."""
    header = (data[0] & 0x0F) * 4 if data else 0
    if len(data) < header + 8:
        return None
    source, target, length = struct.unpack("!HHH", data[header : header + 6])
    return Packet(
        at_us=at_us,
        source=(socket.inet_ntoa(data[12:16]), source),
        target=(socket.inet_ntoa(data[16:20]), target),
        payload=data[header + 8 : header + length],
    )
