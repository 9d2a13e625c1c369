"""What vendors are shown of callers and numbers, by a real Asterisk: translation on both sides, trust, privacy, blocks.

A line of its own, whose world has: customer 1 trusted, in Germany, with patterns of his own; customer 3 not trusted;
customer 4 who may not call anonymously; vendor 2 trusted, with patterns; vendor 3 neither; vendor 1 with a tech prefix
of signs. Around customers 3 and 4 lies another one's network, whose endpoint is the first by name, and in it an address
of a disabled one; another disabled one has a longer tech prefix of signs.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import psycopg
import pytest
from real_line import LATE, ONE_AT_A_TIME, RICH, SHORT_CALLS, Line, MakeLine
from sip_call import Call, Placed

from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
VENDORS: Final = (2, 3)
RULES: Final = (
    "UPDATE peers SET trusted = true, country_code = '49', national_prefix = '0' WHERE name = 'sipp-customer-1'",
    "UPDATE peers SET trust_lrn = true, verification = 'refuse_failed', attestation = 'pass'"
    " WHERE name = 'sipp-customer-1'",
    "UPDATE peers SET trusted = true, send_routing_number = true WHERE name = 'sipp-vendor-2'",
    "UPDATE peers SET pass_diversion = true WHERE name IN ('sipp-customer-1', 'sipp-vendor-2')",
    "UPDATE peers SET anonymous = 'refuse', max_call_seconds = 60 WHERE name = 'sipp-customer-4'",
    "UPDATE peers SET max_concurrent = 0",
    "INSERT INTO translations SELECT peer_id, 'in', 'callee', 1, '^\\*31#', '' FROM peers"
    " WHERE name = 'sipp-customer-1'",
    "INSERT INTO translations SELECT peer_id, 'in', 'callee', 2, '^0011', '+' FROM peers"
    " WHERE name = 'sipp-customer-1'",
    "INSERT INTO translations SELECT peer_id, 'out', 'callee', 1, '^', '+' FROM peers WHERE name = 'sipp-vendor-2'",
    "INSERT INTO translations SELECT peer_id, 'out', 'caller', 1, '^49', '0' FROM peers WHERE name = 'sipp-vendor-2'",
    "INSERT INTO translations SELECT peer_id, 'out', 'caller_name', 1, '^.*$', 'Streamco' FROM peers"
    " WHERE name = 'sipp-vendor-2'",
    "INSERT INTO blocks (kind, prefix, reason) VALUES ('caller', '4930666', 'nuisance')",
    "INSERT INTO blocks (peer_id, kind, prefix) SELECT peer_id, 'callee', '999239' FROM peers"
    " WHERE name = 'sipp-vendor-3'",
    # Vendor 2 would carry it for less, by the route class.
    "INSERT INTO dids SELECT '9992177', peer_id FROM peers WHERE name = 'sipp-vendor-3'",
    "INSERT INTO prices (deck_id, code, price) SELECT deck_id, '999217', 0.03 FROM peers WHERE name = 'sipp-vendor-3'",
    "UPDATE peers SET tech_prefix = '7*#' WHERE name = 'sipp-vendor-1'",
    "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id, codecs,"
    " tech_prefix, enabled)"
    " SELECT company_id, added.name, role, 'c-' || added.name, added.host::inet, account_id, pack_id, deck_id,"
    " route_class_id, added.codecs, added.prefix, added.enabled"
    " FROM peers, (VALUES ('a-wide', '127.0.0.12/30', 'ulaw', '', true),"
    " ('a-signs', '127.0.0.12/30', 'ulaw', '9#', true), ('b-closed', '127.0.0.15', 'alaw', '', false),"
    " ('b-star', '127.0.0.12/30', 'gsm', '9#*', false))"
    " AS added (name, host, codecs, prefix, enabled) WHERE peers.name = 'sipp-customer-1'",
)
DIVERTED: Final = (  # the third is too long, the sixth is one too many, the last is never passed on
    'Diversion: "A, ${EPOCH} )(^ 5%" <sip:+4977@x.example>;reason=unconditional;privacy=off\n',
    "Diversion: <sip:1@x.example>;reason=user-busy , <sip:'|\"&@x.example>\n",
    f"Diversion: <sip:{'9' * 500}@x.example>\n",
    *(f"Diversion: <sip:{number}@x.example>\n" for number in (2, 3, 4)),
    "History-Info: <sip:5@x.example?Reason=SIP%3Bcause%3D302%0D%0A>;index=1, <sip:6@x.example>;index=1.1\n",
    "X-Account: 7\n",
)
PASSED: Final = [" ".join(text.split()) for at, text in enumerate(DIVERTED) if at in (0, 1, 3, 4, 6)]
ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'
WIDE, CLOSED = "127.0.0.14", "127.0.0.15"
PLUS_PAI: Final = "P-Asserted-Identity: <sip:+4930777@carrier.example>\n"


class Invite(NamedTuple):
    """What a vendor got."""

    called: str
    sender: str  # From, up to its tag
    asserted: str
    privacy: str
    attestation: str
    diverted: tuple[str, ...] = ()


class NumbersLine(Line):
    """The line with its own rules, and vendors 2 and 3 who answer and write down what they get."""

    def _adapt_world(self) -> None:
        super()._adapt_world()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for rule in RULES:
                connection.execute(rule.encode())

    def _start_vendors(self) -> None:
        with psycopg.connect(self.dsn) as connection:
            ports = dict(connection.execute("SELECT name, port FROM peers WHERE role = 'terminator'").fetchall())
        for number in (1, *VENDORS, 5, 6):
            heard = ("-trace_msg", "-message_file", str(self.directory / f"vendor-{number}.heard"))
            port = ports[f"sipp-vendor-{number}"]
            self._sipp(f"vendor-{number}", scenarios.vendor_answers(), f"127.0.0.{20 + number}", port, *heard)

    def invite(self, vendor: int, called: str) -> Invite:
        """The INVITE of a vendor for this number."""
        text = (self.directory / f"vendor-{vendor}.heard").read_text(errors="replace").replace("\r", "")
        (block,) = {found[0] for found in re.finditer(rf"^INVITE sip:\+?{called}@.*?\n\n", text, re.M | re.S)}

        def header(name: str) -> str:
            found = re.search(rf"^{name}: (.*)$", block, re.M)
            return found[1] if found else ""

        return Invite(block[11 : block.index("@")], header("From").split(";")[0], header("P-Asserted-Identity"),
                      header("Privacy"), header("Attestation-Info"),
                      tuple(re.findall(r"^(?:Diversion|History-Info|X-Account): .*$", block, re.M)))  # fmt: skip


class Seen(NamedTuple):
    placed: Placed
    call: Call


def talks(caller: str, headers: str = "", name: str = "") -> str:
    """A caller who talks for a moment, his INVITE with these headers, his From with this name."""
    text = scenarios.caller_talks(caller, 300).replace("Max-Forwards: 70\n", headers + "Max-Forwards: 70\n", 1)
    return text.replace("From: <sip:", f'From: "{name}" <sip:') if name else text


CALLS: Final[dict[str, tuple[str, str, str]]] = {  # dialled, scenario, from
    "plain": ("999230000001", talks("030123456", name="Anna B."), RICH),
    "translated": ("*31#0011999210000002", talks("030123456", name="Anna B."), RICH),
    "asserted": ("999230000003", talks("100", PLUS_PAI), RICH),
    "private": ("999230000004", talks("100", PLUS_PAI + "Privacy: id\n"), RICH),
    "private, trusted": ("999210000005", talks("100", PLUS_PAI + "Privacy: id\n"), RICH),
    "anonymous": ("999230000006", talks("anonymous"), RICH),
    "not trusted": ("999230000007", talks("12125550123", PLUS_PAI), ONE_AT_A_TIME),
    "hostile": ("999230000008", talks("12;x=1", name="x, y; z"), ONE_AT_A_TIME),
    "anonymous refused": ("999230000009", scenarios.caller_refused("anonymous", 403), SHORT_CALLS),
    "blocked caller": ("999230000010", scenarios.caller_refused("030666123", 403), RICH),
    "blocked at the vendor": ("999239000011", talks("030123456"), RICH),
    "ported": ("999230000012;npdi;rn=+999210000000", talks("030123456"), RICH),
    "inward": ("999217700001", talks("030123456"), RICH),
    "signed": ("999230000013", talks("030123456;verstat=TN-Validation-Passed-A"), RICH),
    "badly signed": (
        "999230000014",
        scenarios.caller_refused("030123456;verstat=TN-Validation-Failed", 403),
        RICH,
    ),
    "diverted": ("999210000021", talks("030123456", "".join(DIVERTED)), RICH),
    "diverted, not sent": ("999230000022", talks("030123456", "".join(DIVERTED)), RICH),
    "diverted, not believed": ("999210000023", talks("12125550123", "".join(DIVERTED)), ONE_AT_A_TIME),
    "wide": ("999210000015", talks("12125550123"), WIDE),
    "signs": ("9#999220000016", talks("12125550123"), WIDE),
    "closed": ("999210000017", scenarios.caller_refused("12125550123", 403), CLOSED),
    "closed prefix": ("9#*999210000018", scenarios.caller_refused("12125550123", 403), WIDE),
    "no number": ("*31#abc", scenarios.caller_refused("030123456", 484), RICH),
}


@pytest.fixture(scope="module")
def line(make_line: MakeLine) -> Iterator[NumbersLine]:
    with make_line("numbers", NumbersLine) as line:
        yield line


@pytest.fixture(scope="module")
def calls(line: NumbersLine) -> dict[str, Seen]:
    seen: dict[str, Seen] = {}
    for turn in range(3):
        placed = {
            name: line.call(
                f"{name}-{turn}".replace(" ", "-").replace(",", ""), dialled.replace("#", "%23"), scenario, host
            )
            for name, (dialled, scenario, host) in CALLS.items()
            if name not in seen or seen[name].call.ended.reason in LATE
        }
        for one in placed.values():
            one.wait()
        found = line.calls_of([one.address for one in placed.values()])
        seen |= {name: Seen(one, found[one.address]) for name, one in placed.items()}
    return seen


@pytest.mark.parametrize("name", CALLS)
def test_sipp_saw_what_its_scenario_expects(calls: dict[str, Seen], name: str) -> None:
    placed = calls[name].placed
    assert placed.code == 0, (placed.received, placed.said())


def test_the_caller_is_shown_international_with_his_name(line: NumbersLine, calls: dict[str, Seen]) -> None:
    seen = line.invite(3, "999230000001")
    assert re.fullmatch(r'"Anna B\." <sip:4930123456@[0-9.]+>', seen.sender)
    assert (seen.asserted, seen.privacy) == ("", "")
    ended = calls["plain"].call.ended
    assert (ended.caller_dialled, ended.facts and ended.facts.caller) == ("030123456", "4930123456")


def test_numbers_are_translated_on_both_sides_and_each_side_is_billed_by_its_own(
    line: NumbersLine, calls: dict[str, Seen]
) -> None:
    seen = line.invite(2, "999210000002")
    assert seen.called == "+999210000002"
    assert re.fullmatch(r'"Streamco" <sip:030123456@[0-9.]+>', seen.sender)
    assert seen.asserted == seen.sender
    call = calls["translated"].call
    assert (call.ended.callee_dialled, call.ended.facts and call.ended.facts.callee) == (
        "*31#0011999210000002", "999210000002",
    )  # fmt: skip
    assert [(leg.facts.caller, leg.facts.callee) for leg in call.legs] == [("030123456", "999210000002")]


def test_a_trusted_peer_asserts_who_calls_and_another_does_not(line: NumbersLine, calls: dict[str, Seen]) -> None:
    assert "<sip:4930777@" in line.invite(3, "999230000003").sender
    assert "<sip:12125550123@" in line.invite(3, "999230000007").sender
    facts = calls["asserted"].call.ended.facts
    assert facts is not None
    assert facts.caller == "4930777"


def test_who_withholds_his_number_is_kept_for_the_bill_and_shown_to_nobody(
    line: NumbersLine, calls: dict[str, Seen]
) -> None:
    seen = line.invite(3, "999230000004")
    assert (seen.sender, seen.asserted, seen.privacy) == (ANONYMOUS, "", "")
    call = calls["private"].call
    assert call.ended.facts is not None
    assert (call.ended.facts.caller, [leg.facts.caller for leg in call.legs]) == ("4930777", [""])
    assert line.invite(3, "999230000006").sender == ANONYMOUS


def test_a_trusted_vendor_is_told_who_withholds_his_number(line: NumbersLine, calls: dict[str, Seen]) -> None:
    seen = line.invite(2, "999210000005")
    assert (seen.sender, seen.privacy) == (ANONYMOUS, "id")
    assert "<sip:030777@" in seen.asserted
    assert [leg.facts.caller for leg in calls["private, trusted"].call.legs] == ["030777"]


def test_no_text_of_the_wire_reaches_a_vendor(line: NumbersLine, calls: dict[str, Seen]) -> None:
    assert re.fullmatch(r"<sip:12@[0-9.]+>", line.invite(3, "999230000008").sender)
    heard = (line.directory / "vendor-3.heard").read_text(errors="replace")
    assert "x, y" not in heard


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("anonymous refused", "BLOCKED"),
        ("blocked caller", "BLOCKED"),
        ("badly signed", "BLOCKED"),
        ("no number", "BAD NUMBER"),
    ],
)
def test_what_is_stopped_reaches_no_vendor(calls: dict[str, Seen], name: str, reason: str) -> None:
    assert (calls[name].call.ended.reason, calls[name].call.legs) == (reason, [])


def test_a_ported_number_goes_where_its_routing_number_leads(line: NumbersLine, calls: dict[str, Seen]) -> None:
    heard = (line.directory / "vendor-2.heard").read_text(errors="replace")
    assert "INVITE sip:+999230000012;npdi;rn=+999210000000@" in heard
    call = calls["ported"].call
    assert [(leg.facts.callee, leg.facts.code) for leg in call.legs] == [("999230000012", "99921")]
    assert call.ended.facts is not None
    assert call.ended.facts.callee == "999230000012"


def test_a_number_that_leads_inward_goes_to_its_terminator_alone(line: NumbersLine, calls: dict[str, Seen]) -> None:
    assert line.invite(3, "999217700001").called == "999217700001"
    call = calls["inward"].call
    with psycopg.connect(line.dsn) as connection:
        peers = dict(connection.execute("SELECT name, peer_id FROM peers").fetchall())
    assert [(leg.facts.vendor_peer_id, leg.facts.code) for leg in call.legs] == [(peers["sipp-vendor-3"], "999217")]
    assert call.ended.answered_at_ms is not None


def test_what_was_verified_is_vouched_for_on_the_vendors_leg(line: NumbersLine, calls: dict[str, Seen]) -> None:
    seen = line.invite(3, "999230000013")
    assert re.fullmatch(r"<sip:4930123456@[0-9.]+>", seen.sender)
    assert seen.attestation == "A"
    assert line.invite(3, "999230000001").attestation == ""


def test_a_vendor_whose_rule_blocks_is_passed_over(line: NumbersLine, calls: dict[str, Seen]) -> None:
    assert len(calls["blocked at the vendor"].call.legs) == 1
    assert line.invite(2, "999239000011").called == "+999239000011"


@pytest.mark.parametrize(
    ("name", "endpoint", "answer"),
    [
        ("not trusted", "c-sipp-customer-3", "8 0"),
        ("anonymous refused", "c-sipp-customer-4", ""),
        ("wide", "c-a-wide", "0"),
        ("signs", "c-a-wide", "0"),  # as a-signs: which of them it is the router says
        ("closed", "c-b-closed", ""),
        ("closed prefix", "c-a-wide", ""),
    ],
)
def test_asterisks_endpoint_and_its_codecs_are_those_of_the_longest_network(
    calls: dict[str, Seen], name: str, endpoint: str, answer: str
) -> None:
    placed, call = calls[name]
    assert call.ended.endpoint == endpoint
    whole = (placed.directory / f"{placed.name}.whole").read_text(errors="replace")
    answers = re.findall(r"^SIP/2\.0 200 OK.*?^m=audio \d+ RTP/AVP ([\d ]+?)\r?$", whole, re.M | re.S)
    assert answers[:1] == ([answer] if answer else [])


def test_a_disabled_originators_call_is_refused_and_is_not_the_networks(
    line: NumbersLine, calls: dict[str, Seen]
) -> None:
    with psycopg.connect(line.dsn) as connection:
        peers = dict(connection.execute("SELECT name, peer_id FROM peers").fetchall())
    whose = {name: calls[name].call.ended for name in ("wide", "signs", "closed", "closed prefix")}
    found = {name: (ended.facts and ended.facts.customer_peer_id, ended.reason) for name, ended in whose.items()}
    assert found == {
        "wide": (peers["a-wide"], ""),
        "signs": (peers["a-signs"], ""),
        "closed": (peers["b-closed"], "DISABLED"),
        "closed prefix": (peers["b-star"], "DISABLED"),
    }


def test_a_tech_prefix_of_signs_is_taken_off_and_put_before(line: NumbersLine, calls: dict[str, Seen]) -> None:
    ended = calls["signs"].call.ended
    assert (ended.callee_dialled, ended.facts and ended.facts.callee) == ("9#999220000016", "999220000016")
    heard = (line.directory / "vendor-1.heard").read_text(errors="replace")
    assert "INVITE sip:7*%23999220000016@" in heard
    assert [leg.facts.callee for leg in calls["signs"].call.legs] == ["999220000016"]


def test_a_hash_that_is_not_encoded_is_one_all_the_same(line: NumbersLine) -> None:
    placed = line.call("raw-hash", "9#999220000019", talks("12125550123"), WIDE).wait()
    assert placed.code == 0, placed.received
    assert line.calls_of([placed.address])[placed.address].ended.callee_dialled == "9#999220000019"


def test_asterisk_complained_of_nothing_but_the_vendor_it_cannot_reach(
    line: NumbersLine, calls: dict[str, Seen]
) -> None:
    assert calls
    complaints = [text for text in line.said("node").splitlines() if "WARNING" in text or "ERROR" in text]
    assert [text for text in complaints if "v-sipp-vendor-4" not in text and "PJSIP_SAFE_MODULE" not in text] == []


def test_diversion_is_passed_where_both_sides_have_it(line: NumbersLine, calls: dict[str, Seen]) -> None:
    assert calls["diverted"].placed.code == 0
    assert list(line.invite(2, "999210000021").diverted) == PASSED
    assert line.invite(3, "999230000022").diverted == ()
    assert line.invite(2, "999210000023").diverted == ()
