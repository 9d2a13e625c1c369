"""What the real Asterisk refuses before its dialplan, as its agent finds it: recorded, and bounded by source."""

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from hunt_calls import ANY_END
from real_calls import until
from real_line import HEP_SECRET, RICH, Line

from agent.wire.refused import MOST_OF_SOURCE
from sinks.edge_refusals import EdgeRefusal, list_edge_refusals

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
PROGRAM = """
import sys
from agent.main import run
from agent.settings import AgentSettings
run(AgentSettings.model_validate_json(sys.argv[1]))
"""
HOST = "127.0.0.77"
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.10\r\ns=-\r\nc=IN IP4 127.0.0.10\r\nt=0 0\r\nm=audio 9000 RTP/AVP {}\r\n"
ALAW, G729 = SDP.format(8), SDP.format(18)
_numbers = itertools.count(1)


def request(body: str, *headers: str, method: str = "INVITE", content: str = "application/sdp") -> tuple[str, bytes]:
    """(Call-ID, a request of the rich customer's)."""
    number = next(_numbers)
    call_id = f"edge-{number}@x"
    head = [
        f"{method} sip:999210000010@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP {RICH}:5999;branch=z9hG4bK-edge-{number};rport",
        f"From: <sip:1@{RICH}>;tag=edge{number}",
        "To: <sip:999210000010@127.0.0.1>",
        f"Call-ID: {call_id}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:1@{RICH}:5999>",
        "Max-Forwards: 70",
        *headers,
        *([f"Content-Type: {content}"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return call_id, ("\r\n".join(head) + "\r\n\r\n" + body).encode()


@pytest.fixture(scope="module")
def line(own_line: Line) -> Iterator[Line]:
    """The line, with an agent that takes the node's copies. Kafka is away: nothing here needs it."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    values = {
        "node": "ast1",
        "directory": str(own_line.directory / "node"),
        "kafka": {"bootstrap": "127.0.0.1:9"},
        "postgres": {"dsn": own_line.dsn},
        "ami_port": own_line.ami_port,
        "ami_secret": "right-secret",
        "hep_port": own_line.hep_port,
        "hep_secret": HEP_SECRET,
        "sip_port": own_line.sip_port,
        "heartbeat_seconds": 0.5,
        "beat": str(own_line.directory / "agent.beat"),
    }
    (own_line.directory / "agent.beat").unlink(missing_ok=True)
    with (own_line.directory / "agent.out").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(values)], stdout=log, stderr=log)
    try:
        until((own_line.directory / "agent.beat").exists, "the agent is at work")
        yield own_line
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def recorded(line: Line) -> dict[str, EdgeRefusal]:
    with psycopg.connect(line.dsn) as connection:
        return {one.sip_call_id: one for one in list_edge_refusals(connection, 1_000, seconds=600)}


def send(line: Line, host: str, *raws: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.bind((host, 0))
        for raw in raws:
            own.sendto(raw, ("127.0.0.1", line.sip_port))
        own.settimeout(5)
        with suppress(TimeoutError):
            own.recv(65_536)


def test_each_is_recorded_with_its_code_and_reason(line: Line) -> None:
    wanted = {
        488: request(G729),
        400: request("v=nonsense\r\n"),
        420: request(ALAW, "Require: foobar"),
        422: request(ALAW, "Supported: timer", "Session-Expires: 10", "Min-SE: 10"),
        501: request("", method="MESSAGE"),
    }
    malformed = request(ALAW)[1].replace(b"CSeq: 1 INVITE", b"CSeq: x INVITE")  # PJSIP drops it without an answer
    for _, raw in wanted.values():
        send(line, RICH, raw)
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.sendto(malformed, ("127.0.0.1", line.sip_port))
    until(lambda: {call_id for call_id, _ in wanted.values()} <= recorded(line).keys(), "all are recorded")
    found = recorded(line)
    for code, (call_id, raw) in wanted.items():
        one = found[call_id]
        assert (one.sip_code, one.node, one.address) == (code, "ast1", RICH)
        assert one.method == raw.split(b" ", 1)[0].decode()
    assert found[wanted[420][0]].reason == "Bad Extension; foobar"
    assert "SDP" in found[wanted[400][0]].reason
    journal = line.journal.read_text() if line.journal.exists() else ""
    assert "edge-" not in journal  # no call has begun


def test_calls_are_none_of_them(line: Line) -> None:
    before = recorded(line).keys()
    placed = [line.call(f"edge-{number}", number, ANY_END) for number in ("999210000010", "999280000010")]
    for one in placed:
        one.wait()
    call_id, raw = request(G729)
    send(line, RICH, raw)
    until(lambda: call_id in recorded(line), "what came after them is recorded")
    assert recorded(line).keys() - before == {call_id}


def test_a_flood_is_counted_and_not_recorded(line: Line) -> None:
    flood = [request(G729)[1] for _ in range(10 * MOST_OF_SOURCE)]
    send(line, HOST, *flood)

    def kept() -> int:
        return sum(one.address == HOST for one in recorded(line).values())

    until(lambda: kept() >= MOST_OF_SOURCE, "the first are recorded")
    time.sleep(2)
    assert kept() == MOST_OF_SOURCE
