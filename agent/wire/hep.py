"""HEP version 3, in which Asterisk's res_hep copies every SIP message: one datagram, a header and chunks. Pure.

"HEP3", length (2)      then chunks: vendor (2), type (2), length with this header (2), payload

Anybody on the machine can send to the port: a datagram has the password of hep.conf, or it is none.
"""

import hmac
import ipaddress
import struct
from typing import Final, NamedTuple

_MARK: Final = b"HEP3"
_HEAD: Final = struct.Struct(">4sH")
_CHUNK: Final = struct.Struct(">HHH")
_SOURCE_V4, _TARGET_V4, _SOURCE_V6, _TARGET_V6, _SOURCE_PORT, _TARGET_PORT, _SECONDS, _MICROSECONDS = range(3, 11)
_PROTOCOL, _PASSWORD, _PAYLOAD = 11, 14, 15
_SIP: Final = 1
_LENGTHS: Final = {
    _SOURCE_V4: 4, _TARGET_V4: 4, _SOURCE_V6: 16, _TARGET_V6: 16, _SOURCE_PORT: 2, _TARGET_PORT: 2, _SECONDS: 4,
    _MICROSECONDS: 4, _PROTOCOL: 1,
}  # fmt: skip


class Packet(NamedTuple):
    """A SIP message as it went over the wire. Addresses as text, the moment in unix milliseconds."""

    source: str
    source_port: int
    target: str
    target_port: int
    at_ms: int
    payload: bytes


def read_packet(datagram: bytes, password: bytes) -> Packet | None:
    """The SIP message of a datagram; None: it is no HEP, holds no SIP, or lacks a part, or the password."""
    if len(datagram) < _HEAD.size:
        return None
    mark, length = _HEAD.unpack_from(datagram)
    if mark != _MARK or length > len(datagram):
        return None
    chunks: dict[int, bytes] = {}
    at = _HEAD.size
    while at + _CHUNK.size <= length:
        vendor, kind, size = _CHUNK.unpack_from(datagram, at)
        if size < _CHUNK.size or at + size > length:
            return None
        if vendor == 0:
            chunks[kind] = datagram[at + _CHUNK.size : at + size]
        at += size
    if not hmac.compare_digest(chunks.get(_PASSWORD, b""), password):
        return None
    if any(len(chunks.get(kind, b"")) not in (0, wanted) for kind, wanted in _LENGTHS.items()):
        return None
    source, target = (chunks.get(v4) or chunks.get(v6) for v4, v6 in ((3, 5), (4, 6)))
    if chunks.get(_PROTOCOL) != bytes([_SIP]) or not source or not target:
        return None
    return Packet(
        str(ipaddress.ip_address(source)),
        _number(chunks, _SOURCE_PORT),
        str(ipaddress.ip_address(target)),
        _number(chunks, _TARGET_PORT),
        _number(chunks, _SECONDS) * 1000 + _number(chunks, _MICROSECONDS) // 1000,
        chunks.get(_PAYLOAD, b""),
    )


def _number(chunks: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(chunks.get(kind, b""), "big")
