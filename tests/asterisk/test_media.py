"""Media by a real Asterisk: legs without RTP end, what peers beyond a NAT are told, IPv6 on both sides.

A line of its own. SIPp sends no RTP, so a peer's time without it runs from the answer. Customer 3 and vendor 3 have a
second; customer 4 has a second, but not while it holds; the customer at HOLDS has a second while it holds alone.
Callers are local, vendors beyond the NAT; vendor 6 and one customer have IPv6 addresses.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import psycopg
import pytest
from real_line import CALLER, NODE, ONE_AT_A_TIME, RICH, SHORT_CALLS, Line, MakeLine
from sip_call import Call, Placed

from configuration.asterisk import scenarios
from schemas.refusals import MEDIA_TIMEOUT_CAUSE, Ending
from streamco.embedded.temporary import free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
HOLDS, IPV6 = "127.0.0.14", "::1"
SIGNALING, MEDIA = "203.0.113.5", "203.0.113.6"
TALK_MS: Final = 3_000
RULES: Final = (
    "UPDATE peers SET max_concurrent = 0, max_call_seconds = 60",
    "UPDATE peers SET rtp_timeout_seconds = 1 WHERE name IN ('sipp-customer-3', 'sipp-customer-4', 'sipp-vendor-3')",
    "UPDATE peers SET rtp_timeout_hold_seconds = 0 WHERE name = 'sipp-customer-4'",
    f"UPDATE peers SET host = '{IPV6}' WHERE name = 'sipp-vendor-6'",
    "UPDATE prices SET price = 0.001 FROM peers WHERE peers.deck_id = prices.deck_id AND peers.name = 'sipp-vendor-6'",
    "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id,"
    " rtp_timeout_seconds, rtp_timeout_hold_seconds)"
    " SELECT company_id, added.name, role, 'c-' || added.name, added.host::inet, account_id, pack_id, deck_id,"
    " route_class_id, added.seconds, added.hold_seconds"
    f" FROM peers, (VALUES ('holds', '{HOLDS}', 0, 1), ('six', '{IPV6}', 120, 0))"
    " AS added (name, host, seconds, hold_seconds) WHERE peers.name = 'sipp-customer-1'",
)


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
                self._sipp(f"vendor-{number}", scenarios.vendor_answers(), host, port, *heard)

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
CUT: Final = ("caller silent", "vendor silent", "held too long")


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


@pytest.mark.parametrize("name", CALLS)
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
