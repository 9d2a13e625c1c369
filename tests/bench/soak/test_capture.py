"""UDP packets of a port on loopback, seen from outside."""

import socket
import struct
import time

import pytest

from bench.soak.capture import Capture, read_packet, why_not
from streamco.embedded.temporary import free_port

SIP = b"OPTIONS sip:127.91.1.2 SIP/2.0\r\nCall-ID: 1\r\n\r\n"


def ip(payload: bytes, options: bytes = b"") -> bytes:
    header = bytes([0x40 | (5 + len(options) // 4)]) + bytes(11)
    addresses = socket.inet_aton("127.91.1.1") + socket.inet_aton("127.0.0.1")
    return header + addresses + options + struct.pack("!HHHH", 6_000, 5_060, 8 + len(payload), 0) + payload


def test_a_packet_is_read_with_and_without_options_of_ip() -> None:
    for options in (b"", b"\x01" * 8):
        found = read_packet(5, ip(b"hello", options) + b"padding")
        assert found == (5, ("127.91.1.1", 6_000), ("127.0.0.1", 5_060), b"hello")


def test_a_packet_that_is_cut_off_is_none() -> None:
    for length in (0, 10, 27):
        assert read_packet(5, ip(b"")[:length]) is None


def test_packets_of_the_port_are_seen_once_with_the_time_of_the_kernel() -> None:
    if (reason := why_not()) is not None:
        assert "CAP_NET_RAW" in reason  # the soak says so, too
        with pytest.raises(OSError, match="permitted"):
            Capture(5_060)
        return
    port = free_port()
    with (
        Capture(port) as capture,
        socket.socket(type=socket.SOCK_DGRAM) as us,
        socket.socket(type=socket.SOCK_DGRAM) as them,
    ):
        us.bind(("127.91.1.1", port))
        them.bind(("127.91.1.2", 0))
        before_us = time.time_ns() // 1_000
        them.sendto(b"to the port", us.getsockname())
        us.sendto(SIP, them.getsockname())
        them.sendto(b"elsewhere", them.getsockname())
        after_us = time.time_ns() // 1_000
        deadline = time.monotonic() + 10
        while len(capture.packets) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        there, back = us.getsockname(), them.getsockname()
    assert [packet[1:] for packet in capture.packets] == [
        (back, there, b"to the port"),
        (there, back, SIP),
    ]
    assert all(before_us <= packet.at_us <= after_us for packet in capture.packets)
    assert [message.method for message in capture.messages()] == ["OPTIONS"]
    assert capture.messages() == capture.messages()
    assert capture.dropped == 0
