"""Media by a real Asterisk: legs without RTP end, codecs, what peers beyond a NAT are told, IPv6 on both sides.

A line of its own. SIPp sends no RTP, so a peer's time without it runs from the answer. Customer 3 and vendor 3 have a
second; customer 4 has a second, but not while it holds; the customer at HOLDS has a second while it holds alone.
Callers are local, vendors beyond the NAT; vendor 6 and one customer have IPv6 addresses. The customer at MIXED and
vendor 1 have G.729 and A-law, vendor 5 G.729 alone, vendor 3 G.722; the others A-law and µ-law.
"""

import re
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import psycopg
import pytest
from real_calls import until
from real_line import CALLER, NODE, ONE_AT_A_TIME, RICH, SHORT_CALLS, Line, MakeLine
from sip_call import Call, Placed

from schemas.refusals import MEDIA_TIMEOUT_CAUSE, Ending
from simulator.sipp import scenarios
from streamco.embedded.temporary import free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
HOLDS, MIXED, IPV6 = "127.0.0.14", "127.0.0.15", "::1"
SIGNALING, MEDIA = "203.0.113.5", "203.0.113.6"
PLAIN: Final = "RTP/AVP 8 0\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000"  # what SIPp offers, and answers
TALK_MS: Final = 3_000
PACKETS: Final = 40
RULES: Final = (
    "UPDATE peers SET max_concurrent = 0, max_call_seconds = 60",
    "UPDATE peers SET rtp_timeout_seconds = 1 WHERE name IN ('sipp-customer-3', 'sipp-customer-4', 'sipp-vendor-3')",
    "UPDATE peers SET rtp_timeout_hold_seconds = 0 WHERE name = 'sipp-customer-4'",
    f"UPDATE peers SET host = '{IPV6}' WHERE name = 'sipp-vendor-6'",
    "UPDATE peers SET codecs = 'g729,alaw' WHERE name = 'sipp-vendor-1'",
    "UPDATE peers SET codecs = 'g729' WHERE name = 'sipp-vendor-5'",
    "UPDATE peers SET codecs = 'g722' WHERE name = 'sipp-vendor-3'",
    "UPDATE prices SET price = 0.001 FROM peers WHERE peers.deck_id = prices.deck_id AND peers.name = 'sipp-vendor-6'",
    "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id,"
    " rtp_timeout_seconds, rtp_timeout_hold_seconds, codecs)"
    " SELECT company_id, added.name, role, 'c-' || added.name, added.host::inet, account_id, pack_id, deck_id,"
    " route_class_id, added.seconds, added.hold_seconds, added.codecs"
    f" FROM peers, (VALUES ('holds', '{HOLDS}', 0, 1, 'alaw,ulaw'), ('six', '{IPV6}', 120, 0, 'alaw,ulaw'),"
    f" ('mixed', '{MIXED}', 120, 0, 'g729,alaw'))"
    " AS added (name, host, seconds, hold_seconds, codecs) WHERE peers.name = 'sipp-customer-1'",
)


def takes_the_first() -> str:
    """A vendor that answers by the first codec it is offered."""
    first = '<ereg regexp="m=audio [0-9]+ RTP/AVP ([0-9]+)" search_in="msg" assign_to="line,first"/>'
    scenario = scenarios.vendor_answers().replace(PLAIN, "RTP/AVP [$first]")
    return scenario.replace("<action>", f"<action>{first}", 1).replace("<nop", '<Reference variables="line"/><nop', 1)


def offers(payloads: str, scenario: str) -> str:
    """A caller's scenario that offers these payload types; 101 is DTMF."""
    dtmf = "\na=rtpmap:101 telephone-event/8000" if "101" in payloads else ""
    return scenario.replace(PLAIN, f"RTP/AVP {payloads}{dtmf}")


def send_rtp(source: tuple[str, int], target: tuple[str, int], payload: int) -> None:
    """So many packets of silence, 20 ms apart."""
    with socket.socket(type=socket.SOCK_DGRAM) as wire:
        wire.bind(source)
        for number in range(PACKETS):
            head = struct.pack("!BBHII", 0x80, payload, number, number * 160, 7)
            wire.sendto(head + bytes(20 if payload == 18 else 160), target)
            time.sleep(0.02)


def payloads_of(sdp: str) -> list[str]:
    """The payload types of an SDP's audio, but DTMF's."""
    (found,) = re.findall(r"^m=audio \d+ RTP/AVP ([\d ]+?)$", sdp, re.M)[:1]
    return [payload for payload in found.split() if payload != "101"]


class MediaLine(Line):
    """The line with these peers, behind a NAT."""

    def _adapt_world(self) -> None:
        super()._adapt_world()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for rule in RULES:
                connection.execute(rule.encode())
        self.node_settings |= {
            "sip_host_ipv6": IPV6,
            "external_signaling_address": SIGNALING,
            "external_media_address": MEDIA,
            "local_networks": ["127.0.0.8/29"],
        }

    def _start_vendors(self) -> None:
        with psycopg.connect(self.dsn) as connection:
            peers = connection.execute(
                "SELECT right(name, 1)::int, host(host), port FROM peers WHERE name LIKE 'sipp-vendor-_'"
            ).fetchall()
        for number, host, port in peers:
            if number != 4:
                heard = ("-trace_msg", "-message_file", str(self.directory / f"vendor-{number}.heard"))
                scenario = takes_the_first() if number in (1, 3, 5) else scenarios.vendor_answers()
                self._sipp(f"vendor-{number}", scenario, host, port, *heard)

    def heard(self, vendor: int, called: str) -> str:
        """The INVITE of a vendor for this number."""
        text = (self.directory / f"vendor-{vendor}.heard").read_text(errors="replace").replace("\r", "")
        found = re.search(rf"^INVITE sip:{called}@.*?(?=^-{{20}}|\Z)", text, re.M | re.S)
        assert found, text
        return found[0]


class Seen(NamedTuple):
    placed: Placed
    call: Call

    @property
    def answer(self) -> str:
        """What the caller was answered."""
        text = (self.placed.directory / f"{self.placed.name}.whole").read_text(errors="replace").replace("\r", "")
        return text[text.index("SIP/2.0 200 OK") :]


_TALKS: Final = scenarios.caller_talks(CALLER, TALK_MS)
_LISTENS: Final = scenarios.caller_listens(CALLER)
CALLS: Final[dict[str, tuple[str, str, str]]] = {  # dialled, scenario, from
    "caller silent": ("999210000001", _LISTENS, ONE_AT_A_TIME),
    "vendor silent": ("999230000002", _LISTENS, RICH),
    "both talk": ("999210000003", _TALKS, RICH),
    "held": ("999210000004", scenarios.caller_holds(CALLER, TALK_MS), SHORT_CALLS),
    "held too long": ("999210000005", scenarios.caller_holds(CALLER, None), HOLDS),
    "not held": ("999210000006", _TALKS, HOLDS),
}
# What the caller is answered, who the vendor is, what it is offered: 8 A-law, 0 µ-law, 9 G.722, 18 G.729.
CODECS: Final = {
    "both kinds on both sides": (["8"], 1, ["8"]),
    "both kinds, early media": (["8"], 1, ["8"]),
    "G.729 of two on one side": (["18"], 5, ["18"]),
    "G.729 alone": (["18"], 5, ["18"]),
    "G.729 alone to both kinds": (["18"], 1, ["18"]),
    "both kinds to A-law": (["8"], 2, ["8", "0"]),
    "A-law to both kinds": (["8", "0"], 1, ["8"]),
    "A-law to G.722": (["8", "0"], 3, ["9"]),
}
CALLS |= {
    "both kinds on both sides": ("999220000010", offers("18 8 101", _TALKS), MIXED),
    "both kinds, early media": ("999220000015", offers("18 8", _TALKS), MIXED),
    "G.729 of two on one side": ("999270000010", offers("8 18", _TALKS), MIXED),
    "G.729 alone": ("999270000011", offers("18", _TALKS), MIXED),
    "G.729 alone to both kinds": ("999220000012", offers("18", _TALKS), MIXED),
    "both kinds to A-law": ("999210000010", offers("18 8", _TALKS), MIXED),
    "A-law to both kinds": ("999220000011", _TALKS, RICH),
    "A-law to G.722": ("999230000011", _LISTENS, RICH),  # the vendor with a second without RTP
    "G.729 to A-law": ("999210000011", offers("18", scenarios.caller_refused(CALLER, 488)), MIXED),
    "A-law to G.729": ("999270000012", scenarios.caller_refused(CALLER, 488), RICH),
}
REFUSED: Final = ("G.729 to A-law", "A-law to G.729")
CUT: Final = ("caller silent", "vendor silent", "held too long", "A-law to G.722")


@pytest.fixture(scope="module")
def line(make_line: MakeLine) -> Iterator[MediaLine]:
    with make_line("media", MediaLine) as line:
        yield line


@pytest.fixture(scope="module")
def calls(line: MediaLine) -> dict[str, Seen]:
    placed = {
        name: line.call(re.sub("[ ,]+", "-", name), dialled, scenario, host)
        for name, (dialled, scenario, host) in CALLS.items()
    }
    for one in placed.values():
        one.wait()
    found = line.calls_of([one.address for one in placed.values()])
    return {name: Seen(one, found[one.address]) for name, one in placed.items()}


@pytest.mark.parametrize("name", sorted(CALLS.keys() - set(REFUSED)))
def test_a_leg_without_rtp_ends_and_says_why(calls: dict[str, Seen], name: str) -> None:
    placed, call = calls[name]
    assert placed.code == 0, (placed.received, placed.said())
    (leg,) = call.legs
    assert call.ended.dial_status == "ANSWER"
    if name not in CUT:
        assert (call.ended.reason, call.ended.release_side, leg.release_side) == ("", "caller", "caller")
        assert call.ended.duration_ms > TALK_MS - 100
    else:
        assert (call.ended.reason, call.ended.release_side, leg.release_side) == (Ending.MEDIA_TIMEOUT, "us", "us")
        assert call.ended.cause == MEDIA_TIMEOUT_CAUSE
        assert 900 <= call.ended.duration_ms < TALK_MS


@pytest.mark.parametrize("name", CODECS)
def test_both_sides_have_codecs_that_go_together(line: MediaLine, calls: dict[str, Seen], name: str) -> None:
    answered, vendor, offered = CODECS[name]
    assert payloads_of(calls[name].answer) == answered
    assert payloads_of(line.heard(vendor, CALLS[name][0])) == offered
    assert [leg.sip_code for leg in calls[name].call.legs] == [200]


@pytest.mark.parametrize(
    ("callee", "offered", "vendor", "codec", "payload"),
    [
        ("999220000021", "18 8", 1, "alaw", 8),
        ("999270000022", "8 18", 5, "g729", 18),
        ("999210000023", "18 8", 2, "alaw", 8),
    ],
)
def test_what_a_caller_with_both_kinds_says_reaches_the_vendor(
    line: MediaLine, callee: str, offered: str, vendor: int, codec: str, payload: int
) -> None:
    placed = line.call(f"talk-{callee}", callee, offers(offered, _LISTENS), MIXED)
    until(lambda: "SIP/2.0 200 OK" in placed.received, "the call is answered")
    answer = Seen(placed, None).answer  # type: ignore[arg-type]
    (port,) = re.findall(r"^m=audio (\d+) ", answer, re.M)[:1]
    send_rtp((MIXED, 0), ("127.0.0.1", int(port)), payload)
    stats = line.console("pjsip show channelstats")
    found = re.findall(rf"v-sipp-vendor-{vendor}\S*\s+[\d:]+\s+(\w+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+(\d+)", stats)
    line.console("channel request hangup all")
    assert placed.wait().code == 0, (placed.received, placed.said())
    assert [(name, int(sent) > PACKETS / 2) for name, sent in found] == [(codec, True)], stats


def test_what_is_answered_anew_still_has_dtmf(calls: dict[str, Seen]) -> None:
    assert re.search(r"^m=audio \d+ RTP/AVP 8 101$", calls["both kinds on both sides"].answer, re.M)


@pytest.mark.parametrize("name", REFUSED)
def test_without_a_codec_in_common_the_call_is_refused(calls: dict[str, Seen], name: str) -> None:
    placed, call = calls[name]
    assert placed.code == 0, (placed.received, placed.said())
    assert (call.ended.reason, call.ended.cause, call.legs) == ("NO COMMON CODEC", 58, [])


def test_peers_beyond_the_nat_are_told_the_external_addresses_and_local_ones_our_own(
    line: MediaLine, calls: dict[str, Seen]
) -> None:
    sent = line.heard(2, "999210000003")
    assert re.search(rf"^Contact: <sip:.*@{SIGNALING}:", sent, re.M)
    assert re.search(rf"^c=IN IP4 {MEDIA}$", sent, re.M)
    answer = calls["both talk"].answer
    assert re.search(r"^Contact: <sip:.*127\.0\.0\.1:", answer, re.M)
    assert re.search(r"^c=IN IP4 127\.0\.0\.1$", answer, re.M)


def test_a_call_from_an_ipv6_address_to_another(line: MediaLine) -> None:
    port = free_port()
    process = line._sipp(
        "six", scenarios.caller_talks(CALLER, 500), IPV6, port, "-s", "999260000001", "-m", "1",
        f"[{IPV6}]:{line.sip_port}", "-timeout", "25",
        "-trace_shortmsg", "-shortmessage_file", str(line.directory / "six.messages"),
    )  # fmt: skip
    placed = Placed("six", f"[{IPV6}]:{port}", process, line.directory).wait()
    assert placed.code == 0, (placed.received, placed.said())
    call = line.calls_of([placed.address])[placed.address]
    assert call.ended.endpoint == "c-six"
    assert [leg.sip_code for leg in call.legs][-1] == 200
    assert f"c=IN IP6 {IPV6}" in line.heard(6, "999260000001")


def test_asterisk_complained_of_nothing(line: MediaLine, calls: dict[str, Seen]) -> None:
    assert calls
    complaints = [text for text in line.said("node").splitlines() if "WARNING" in text or "ERROR" in text]
    # The last is of a G.729 call to a vendor with both kinds, whose channel begins with A-law: nothing is translated.
    known = ("v-sipp-vendor-4", "PJSIP_SAFE_MODULE", "(g729) -> (alaw)", "(alaw) -> (g729)")
    assert [text for text in complaints if not any(part in text for part in known)] == []


def test_the_node_reports_that_it_has_ipv6(line: MediaLine) -> None:
    with psycopg.connect(line.dsn) as connection:
        assert connection.execute("SELECT sip_ipv6 FROM nodes WHERE name = %s", (NODE,)).fetchone() == (True,)
