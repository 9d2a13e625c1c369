"""Copies of SIP messages: read, told apart from what is no refusal before the dialplan, and bounded by source."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.hep import Packet, read_packet
from agent.wire.refused import MOST_OF_NODE, MOST_OF_SOURCE, MOST_SOURCES, Bounds, Reader, Record, Refused
from agent.wire.sip_head import read_head

OURS, PORT = "192.0.2.1", 5060
CALLER = "203.0.113.9"
PASSWORD = b"right-secret"


def chunk(kind: int, payload: bytes, vendor: int = 0) -> bytes:
    return struct.pack(">HHH", vendor, kind, 6 + len(payload)) + payload


def hep(payload: bytes, *more: bytes) -> bytes:
    """As res_hep writes it: from us to the caller."""
    chunks = b"".join(
        [
            chunk(1, b"\x02"), chunk(2, b"\x11"), chunk(3, bytes([192, 0, 2, 1])), chunk(4, bytes([203, 0, 113, 9])),
            chunk(7, struct.pack(">H", PORT)), chunk(8, struct.pack(">H", 40_000)),
            chunk(9, struct.pack(">I", 1_796_000_000)), chunk(10, struct.pack(">I", 250_000)), chunk(11, b"\x01"),
            *more, chunk(14, PASSWORD), chunk(15, payload),
        ]
    )  # fmt: skip
    return b"HEP3" + struct.pack(">H", 6 + len(chunks)) + chunks


def test_a_datagram_is_read() -> None:
    found = read_packet(
        hep(b"SIP/2.0 488 Not Acceptable Here\r\n", chunk(17, b"an-id"), chunk(3, b"other", vendor=9)), PASSWORD
    )
    payload = b"SIP/2.0 488 Not Acceptable Here\r\n"
    assert found == Packet(OURS, PORT, CALLER, 40_000, 1_796_000_000_250, payload)


@given(st.binary(max_size=120), st.integers(0, 200))
def test_any_bytes_are_read_or_left(raw: bytes, cut: int) -> None:
    read_packet(b"HEP3" + raw, PASSWORD)
    read_packet(raw, PASSWORD)
    whole = hep(b"SIP/2.0 488 Not Acceptable Here\r\n")
    assert read_packet(whole[:cut], PASSWORD) is None or cut >= len(whole)


@pytest.mark.parametrize("password", [b"", b"right-secre", b"right-secret2", b"wrong-secret"])
def test_a_datagram_with_another_password_is_none(password: bytes) -> None:
    """Anybody on the machine can send to the port."""
    whole = hep(b"SIP/2.0 488 Not Acceptable Here\r\n")
    assert read_packet(whole, PASSWORD) is not None
    assert read_packet(whole, password) is None


def sent(payload: str, source_port: int = PORT) -> Packet:
    return Packet(OURS, source_port, CALLER, 40_000, 7, payload.replace("\n", "\r\n").encode())


def came(payload: str) -> Packet:
    return Packet(CALLER, 40_000, OURS, PORT, 6, payload.replace("\n", "\r\n").encode())


def read(reader: Reader, packet: Packet) -> Refused | None:
    head = read_head(packet.payload)
    return None if head is None else reader.read(packet, head)


def request(*headers: str, method: str = "INVITE", to: str = "<sip:44@x>") -> str:
    head = [f"{method} sip:44@x SIP/2.0", f"To: {to}", "Call-ID: abc@x", f"CSeq: 1 {method}", *headers]
    return "\n".join([*head, "", ""])


def answer(status: str, *headers: str, method: str = "INVITE", server: str = "streamco") -> str:
    head = [f"SIP/2.0 {status}", "Call-ID: abc@x", f"CSeq: 1 {method}", f"Server: {server}", *headers]
    return "\n".join([*head, "", ""])


REASON = "Reason: Q.850;cause=34"
CREDENTIALS = 'Authorization: Digest username="a"'


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([came(request()), sent(answer("100 Trying")), sent(answer("488 Not Acceptable Here"))],
         ("INVITE", 488, "Not Acceptable Here")),
        ([came(request()), sent(answer("420 Bad Extension", "Unsupported: foobar"))],
         ("INVITE", 420, "Bad Extension; foobar")),
        ([came(request()), sent(answer("422 Session Interval Too Small"))],
         ("INVITE", 422, "Session Interval Too Small")),
        ([came(request()), sent(answer("400 Bad Request", 'Warning: 399 SIP "Invalid SDP version line"'))],
         ("INVITE", 400, 'Bad Request; 399 SIP "Invalid SDP version line"')),
        ([sent(answer("501 Not Implemented", method="MESSAGE"))], ("MESSAGE", 501, "Not Implemented")),
        ([came(request(CREDENTIALS)), sent(answer("401 Unauthorized"))], ("INVITE", 401, "Unauthorized")),
        ([came(request()), sent(answer("401 Unauthorized"))], None),  # it asks for credentials
        ([came(request()), sent(answer("503 Service Unavailable", REASON))], None),  # the dialplan's
        ([came(request()), sent(answer("180 Ringing")), sent(answer("415 Unsupported Media Type"))], None),
        ([came(request()), sent(answer("487 Request Terminated"))], None),
        ([came(request(to="<sip:44@x>;tag=1")), sent(answer("488 Not Acceptable Here"))], None),  # a re-INVITE
        ([sent(request()), came(answer("488 Not Acceptable Here", server="a vendor"))], None),
        ([sent(request()), came(answer("488 Not Acceptable Here"))], None),  # a vendor that is a Streamco
        ([came(request()), sent(answer("200 OK"))], None),
    ],
)  # fmt: skip
def test_what_is_a_refusal_before_the_dialplan(packets: list[Packet], expected: tuple[str, int, str] | None) -> None:
    reader = Reader("streamco", PORT)
    found = [one for packet in packets if (one := read(reader, packet)) is not None]
    assert [(one.method, one.sip_code, one.reason) for one in found] == ([] if expected is None else [expected])
    for one in found:
        assert (one.at_ms, one.address, one.port, one.sip_call_id) == (7, CALLER, 40_000, "abc@x")
        assert [read(reader, packets[-1]) for _ in range(3)] == [None] * 3  # sent again, as nobody has acknowledged it


def test_texts_of_the_wire_are_bounded_and_printable() -> None:
    warning = 'Warning: 399 x "' + "\x1b[31m" * 100 + '"'
    found = read(Reader("streamco", PORT), sent(answer("400 Bad Request", warning)))
    assert found is not None
    assert len(found.reason) <= 200
    assert found.reason.isprintable()


@given(st.binary(max_size=300))
def test_any_message_is_read_or_left(raw: bytes) -> None:
    reader = Reader("streamco", PORT)
    for payload in (raw, b"SIP/2.0 488 " + raw, b"SIP/2.0 400 x\r\nServer: streamco\r\n" + raw):
        found = read(reader, Packet(OURS, PORT, CALLER, 1, 2, payload))
        assert found is None or (len(found.method) <= 16 and len(found.reason) <= 200 and len(found.sip_call_id) <= 128)


def refused(address: str = CALLER) -> Refused:
    return Refused(0, address, 1, "INVITE", 488, "x", "y")


FLOOD = st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 3)), max_size=120)


@given(FLOOD)
def test_nothing_is_lost_without_being_counted(flood: list[tuple[int, int]]) -> None:
    """What each source's records say, with what it has still to say, is all that it sent; and a minute's is bounded."""
    bounds, now_ms = Bounds(), 0
    came_of: dict[str, int] = {}
    kept: dict[str, list[tuple[int, Record]]] = {}
    pending: dict[str, int] = {}
    for gap_ms, source in flood:
        now_ms += gap_ms
        address = f"203.0.113.{source}"
        for _ in range(4):
            came_of[address] = came_of.get(address, 0) + 1
            record = bounds.take(refused(address), now_ms)
            pending[address] = 0 if record is not None else pending.get(address, 0) + 1
            if record is not None:
                kept.setdefault(address, []).append((now_ms, record))
    for address, count in came_of.items():
        records = kept.get(address, [])
        assert sum(1 + record.not_recorded for _, record in records) + pending[address] == count
        for at_ms, _ in records:  # any minute has less than two windows of records
            assert sum(at_ms <= one < at_ms + 60_000 for one, _ in records) <= 2 * MOST_OF_SOURCE
    assert bounds.not_recorded == sum(came_of.values()) - sum(map(len, kept.values()))


def test_a_flood_from_many_sources_is_bounded_by_the_node() -> None:
    bounds = Bounds()
    kept = [bounds.take(refused(f"2001:db8::{number:x}"), 1_000) for number in range(2 * MOST_SOURCES)]
    assert sum(one is not None for one in kept) == MOST_OF_NODE
    assert len(bounds) == MOST_SOURCES
    assert bounds.take(refused(), 61_001) is not None
