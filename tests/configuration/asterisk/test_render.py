"""The files of a node as texts: complete, filled in, and closed to what could break out of its line."""

import dataclasses
import ipaddress
import re
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from configuration.asterisk.render import (
    PROBE_SECONDS,
    PROBES_PER_SECOND,
    Places,
    RenderError,
    SipPeer,
    pjsip_file,
    render,
)
from configuration.settings import NodeSettings
from runtime.connections import Postgres
from schemas.agi import (
    AGI_ARGUMENTS,
    AGI_OPTIONAL_ARGUMENTS,
    AGI_SCRIPT,
    MIN_LEFT_MS,
    NO_ANSWER_CAUSE,
    VENDOR_ACCOUNT_CAUSES,
    VENDORS_FAULT_CAUSE,
    WHO_SCRIPT,
)
from schemas.agi_digest import KEY_FILE, node_key_text
from schemas.journal_keys import JOURNAL_VERSION, KEYS
from schemas.refusals import MEDIA_TIMEOUT_CAUSE, REFUSAL_CAUSE, SIP_OF_CAUSE, Ending, Refusal
from schemas.release import LOOP_CAUSE, NO_ANSWER, NO_PROGRESS_CAUSE, REDIRECTED_CAUSE

KEY = node_key_text("the routers' secret", "ast7")
PLACES = Places(etc="/n/etc", run="/n/run", modules="/m", data="/d", sbin="/s")
ORIGINATOR = SipPeer("alpha", "originator", "c-alpha", "10.0.0.0/24", 5060, "alaw,ulaw")
TERMINATOR = SipPeer("beta", "terminator", "v-beta", "192.0.2.7", 5080, "g729")


def settings(**changes: object) -> NodeSettings:
    values: dict[str, object] = {
        "node": "ast7",
        "directory": Path("/n"),
        "postgres": Postgres(dsn=SecretStr("postgresql://nobody")),
        "agi_key": SecretStr(KEY),
        "ami_secret": SecretStr("right-secret"),
        "cache": Path("/c"),
    }
    return NodeSettings.model_validate(values | changes)


@pytest.fixture
def texts() -> dict[str, str]:
    return render(settings(), [ORIGINATOR, TERMINATOR], PLACES, 1795609861)


def test_nothing_is_left_to_fill_in(texts: dict[str, str]) -> None:
    assert {"asterisk.conf", "extensions.conf", "pjsip.conf", "manager.conf", "cel_custom.conf"} <= texts.keys()
    assert [name for name, text in texts.items() if re.search(r"@[A-Z_]+@", text)] == []


def test_the_node_is_named_where_it_counts(texts: dict[str, str]) -> None:
    assert "systemname = ast7\n" in texts["asterisk.conf"]
    assert "NODE=ast7\nNODE_EPOCH=1795609861\nROUTER=127.0.0.1:14573\n" in texts["globals.conf"]
    assert "bind=127.0.0.1:15060\n" in texts["pjsip.conf"]
    assert "bindaddr=127.0.0.1\nport=15038\n" in texts["manager.conf"]
    assert "\n[agent]\nsecret=right-secret\n" in texts["manager.conf"]


def test_a_call_is_few_messages_to_the_manager(texts: dict[str, str]) -> None:
    """Above its queue's mark Asterisk takes no new calls (tests/asterisk/test_soak.py counts them)."""
    assert not re.search(r"^channelvars\b", texts["manager.conf"], re.MULTILINE)
    declined = set(re.findall(r"^decline=(\w+)$", texts["stasis.conf"], re.MULTILINE))
    assert {"ast_channel_varset_type", "agi_exec_start_type", "ast_rtp_rtcp_sent_type"} <= declined
    assert not declined & {"ast_channel_snapshot_type", "cel_generic_type", "ast_security_event_type"}


def test_texts_of_the_wire_are_never_set_together(texts: dict[str, str]) -> None:
    """MSet reads brackets and quotes in what it is given, so that a caller's could keep what follows from being set."""
    wire = "CALLE[RE]|CALLER_NAME|ASSERTED|SENDER|PRIVACY|HOPS|ENDPOINT|ADDRESS|SIP_CALL_ID|CALLED_URI|EXTEN|NAME|TEXT"
    together = re.findall(r"MSet\((.*)\)$", texts["extensions.conf"], re.MULTILINE)
    assert [text for text in together if re.search(rf"\$\{{(?:{wire}|ROUTE_\$\{{\w+\}}_CALLER\w*)\b", text)] == []
    assert [text for text in together if re.search(r"\$\{(?:CALLERID|PJSIP_\w+|CHANNEL|URIENCODE)\(", text)] == []


def test_no_text_of_the_wire_is_left_where_asterisk_writes_it_unencoded_when_the_router_is_asked(
    texts: dict[str, str],
) -> None:
    before = texts["extensions.conf"].partition("AGI(agi://")[0]
    assert before.count("MSet(CALLERID(all)=,CALLERID(dnid)=,") == 1
    assert before.rindex("${CALLERID(") < before.index("MSet(CALLERID(all)=")


def test_peers_are_endpoints_by_their_role(texts: dict[str, str]) -> None:
    text = texts["pjsip.conf"]
    assert "[c-alpha](originator)\nallow=alaw,ulaw\nrtp_timeout=120\nrtp_timeout_hold=1800\n\n" in text
    assert "[008-c-alpha]\ntype=identify\nendpoint=c-alpha\nmatch=10.0.0.0/24\n" in text
    assert "[v-beta](terminator)\nallow=g729\nrtp_timeout=120\nrtp_timeout_hold=1800\naors=v-beta\n" in text
    assert "contact=sip:192.0.2.7:5080\n" in text
    assert pjsip_file(settings(), [ORIGINATOR, TERMINATOR]) == text


@given(
    st.lists(st.tuples(st.sampled_from(("10.0.0.5", "10.0.0.6", "2001:db8::5")), st.integers(0, 128)), unique=True),
    st.randoms(use_true_random=False),
)
def test_the_first_identify_in_the_order_of_their_ids_has_the_longest_network(
    hosts: list[tuple[str, int]], chance: Random
) -> None:
    lengths = [(host, min(bits, ipaddress.ip_address(host).max_prefixlen)) for host, bits in hosts]
    networks = {ipaddress.ip_network(f"{host}/{length}", strict=False) for host, length in lengths}
    names = [f"c-{number}" for number in range(len(networks))]
    chance.shuffle(names)
    peers = [
        SipPeer(name, "originator", name, str(network), 5060, "alaw")
        for name, network in zip(names, networks, strict=True)
    ]
    text = pjsip_file(settings(), peers)
    found = sorted(re.findall(r"^\[(\S+)\]\ntype=identify\nendpoint=(c-\d+)\nmatch=(.*)$", text, re.MULTILINE))
    assert len(found) == len(networks)
    for address in map(ipaddress.ip_address, ("10.0.0.5", "10.0.0.6", "10.0.1.1", "2001:db8::5", "2001:db8::9")):
        matching = [network for _, _, match in found if address in (network := ipaddress.ip_network(match))]
        assert matching[:1] == sorted(matching, key=lambda one: -one.prefixlen)[:1]


def test_a_trusted_vendor_is_told_who_calls_and_another_is_not() -> None:
    text = pjsip_file(
        settings(), [TERMINATOR, SipPeer("near", "terminator", "v-near", "192.0.2.8", 5060, "alaw", True)]
    )
    assert "[v-beta](terminator)\n" in text
    assert "[v-near](terminator,trusted)\n" in text
    assert "\n[trusted](!)\nsend_pai=yes\ntrust_id_outbound=yes\n" in text


def probes(text: str) -> tuple[list[int], int]:
    """How often each vendor is sent OPTIONS (0: never), and over how many seconds the first ones are spread."""
    (spread,) = re.findall(r"^max_initial_qualify_time=(\d+)$", text, re.MULTILINE)
    return [int(one) for one in re.findall(r"^qualify_frequency=(\d+)$", text, re.MULTILINE)], int(spread)


def test_a_vendor_is_sent_options_only_if_it_wants_them() -> None:
    probed = dataclasses.replace(TERMINATOR, name="gamma", endpoint="v-gamma", probe=True)
    assert probes(pjsip_file(settings(), [TERMINATOR, probed])) == ([0, PROBE_SECONDS], 2)


@pytest.mark.parametrize("count", [200, 201, 999])
def test_a_node_sends_no_more_probes_than_its_cap(count: int) -> None:
    vendors = [dataclasses.replace(TERMINATOR, name=f"v{at}", endpoint=f"v-v{at}", probe=True) for at in range(count)]
    every, spread = probes(pjsip_file(settings(), [*vendors, TERMINATOR]))
    assert len(every) == count + 1
    assert sum(Fraction(1, seconds) for seconds in every if seconds) <= PROBES_PER_SECOND
    assert count / spread <= PROBES_PER_SECOND


def test_a_peer_with_codecs_of_both_kinds_is_written_so_that_a_call_can_have_either() -> None:
    both = "g729,alaw"
    text = pjsip_file(
        settings(),
        [
            SipPeer("one", "originator", "c-one", "10.0.0.1", 5060, both),
            SipPeer("two", "terminator", "v-two", "10.0.0.2", 5060, both),
        ],
    )
    assert re.search(r"^\[c-one\]\(originator\)\nallow=g729,alaw\n(?:rtp_.*\n)*asymmetric_rtp_codec=yes\n", text, re.M)
    assert "[v-two](terminator)\nallow=alaw,g729\n" in text
    assert text.count("asymmetric") == 1


def test_what_a_node_has_besides_its_transport_is_written() -> None:
    plain = pjsip_file(settings(), [])
    assert "udp6" not in plain
    assert not re.search("^(external_|local_net)", plain, re.MULTILINE)
    text = pjsip_file(
        settings(
            sip_host_ipv6="2001:DB8::1", external_signaling_address="203.0.113.5",
            external_media_address="203.0.113.6", local_networks=("10.0.0.0/8", "192.0.2.1"),
        ), []
    )  # fmt: skip
    assert "[udp6]\ntype=transport\nprotocol=udp\nbind=[2001:db8::1]:15060\n" in text
    nat = "external_signaling_address=203.0.113.5\nexternal_media_address=203.0.113.6\n"
    assert f"bind=127.0.0.1:15060\n{nat}local_net=10.0.0.0/8\nlocal_net=192.0.2.1/32\nlocal_net=127.0.0.1/32\n" in text


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("sip_host", "::1", "must be an IPv4 address, is IPv6"),
        ("sip_host", "localhost", "must be an IPv4 address"),
        ("sip_host_ipv6", "192.0.2.1", "must be an IPv6 address, is IPv4"),
        ("external_media_address", "sip.example.com", "must be an IPv4 address"),
        ("external_signaling_address", "203.0.113.5\n", "must be an IPv4 address"),
        ("local_networks", ("10.0.0.1/8",), "must be an IPv4 address or network"),
        ("local_networks", ("10.0.0.0/8",), "local_networks '10.0.0.0/8': must be there with an external address"),
        ("external_media_address", "203.0.113.5", "local_networks '': must be there with an external address"),
    ],
)
def test_an_address_of_a_node_that_is_none_is_refused(field: str, value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        settings(**{field: value})
    assert field in str(caught.value) or "local_networks" in rule


def test_an_ipv6_vendor_is_written_as_a_uri_wants_it() -> None:
    peer = SipPeer("six", "terminator", "v-six", "2001:db8::7", 5060, "alaw")
    text = pjsip_file(settings(), [peer])
    assert "contact=sip:[2001:db8::7]:5060\n" in text
    assert "\nrtp_ipv6=yes\n" in text


@pytest.mark.parametrize("text", ["a b", "a;b", "a\nb", "a\r", "ä", "a\0"])
def test_a_value_that_would_break_out_of_its_line_is_refused(text: str) -> None:
    with pytest.raises(RenderError, match="peer evil"):
        pjsip_file(settings(), [SipPeer("evil", "originator", text, "10.0.0.1", 5060, "alaw")])
    with pytest.raises(RenderError, match="AMI_SECRET") as caught:
        render(settings(ami_secret=SecretStr(text)), [], PLACES, 1)
    assert text not in str(caught.value)


def test_the_dialplan_writes_the_journal_as_it_is_read(texts: dict[str, str]) -> None:
    lines = re.findall(r"CELGenUserEvent\((\w+),(.*)\)$", texts["extensions.conf"], re.MULTILINE)
    assert {kind for kind, _ in lines} == KEYS[JOURNAL_VERSION].keys()
    for kind, text in lines:
        assert text.startswith(f"v={JOURNAL_VERSION}|")
        assert tuple(re.findall(r"\|(\w+)=", text)) == KEYS[JOURNAL_VERSION][kind]


def test_the_dialplan_asks_the_router_as_it_is_asked(texts: dict[str, str]) -> None:
    (call,) = re.findall(r"AGI\(agi://\$\{ROUTER\}/route\?\$\{DIGEST\},(.*)\)$", texts["extensions.conf"], re.MULTILINE)
    assert len(call.split(",")) == len(AGI_ARGUMENTS + AGI_OPTIONAL_ARGUMENTS)


def test_the_dialplan_signs_what_it_asks(texts: dict[str, str]) -> None:
    """As session_digest() does: tests/asterisk/test_digests.py holds the two equal."""
    parts = "${FILE(${AGI_KEY},64,64)}", "${FILE(${AGI_KEY},0,64)}"
    for script in (AGI_SCRIPT, WHO_SCRIPT):
        signed = f"${{SHA1({parts[0]}${{SHA1({parts[1]}{script}:${{CALL_ID}}:${{CALL_AT}})}})}}"
        assert texts["extensions.conf"].count(f" same => n,Set(DIGEST={signed})\n") == 1


def test_the_key_is_in_its_file_alone(texts: dict[str, str]) -> None:
    assert texts[KEY_FILE] == KEY
    assert f"\nAGI_KEY={PLACES.etc}/{KEY_FILE}\n" in texts["globals.conf"]
    assert [name for name, text in texts.items() if KEY[:64] in text or KEY[64:] in text] == [KEY_FILE]
    assert "live_dangerously = no\n" in texts["asterisk.conf"]
    assert {"require=func_env.so", "require=func_sha1.so"} <= set(texts["modules.conf"].splitlines())
    assert not re.search(r"\bcommand\b|\ball\b", re.findall(r"^write=(.*)$", texts["manager.conf"], re.MULTILINE)[0])
    assert KEY not in repr(settings())


@pytest.mark.parametrize("character", ",(){}[]$\"'\\")
def test_a_path_that_a_function_of_the_dialplan_would_read_otherwise_is_refused(character: str) -> None:
    places = dataclasses.replace(PLACES, etc=f"/n{character}/etc")
    with pytest.raises(RenderError, match="must have nothing in it that ends an argument"):
        render(settings(), [], places, 1)


@pytest.mark.parametrize("key", ["", "0" * 127, "x" * 128])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="128 hexadecimal digits") as caught:
        settings(agi_key=SecretStr(key))
    assert not key or key not in str(caught.value)


def test_the_dialplans_tables_are_those_of_the_schemas(texts: dict[str, str]) -> None:
    text = texts["extensions.conf"]
    (causes,) = re.findall(r'Set\(HEARD_CAUSE=\$\{IF\(\$\[\$\{REGEX\("\^\(([\d|]+)\)\$"', text)
    assert tuple(map(int, causes.split("|"))) == VENDOR_ACCOUNT_CAUSES
    assert f"Set(REASON={Ending.SETUP_TIME_OVER})" in text
    assert f"HANGUPCAUSE}} = {MEDIA_TIMEOUT_CAUSE}]?Set(REASON={Ending.MEDIA_TIMEOUT})" in text
    assert f"HANGUPCAUSE}} = {MEDIA_TIMEOUT_CAUSE}]?Set(MASTER_CHANNEL(NO_RTP)=1)" in text
    assert f"MSet(REASON={Ending.MEDIA_TIMEOUT},FINAL_CAUSE={MEDIA_TIMEOUT_CAUSE})" in text
    assert f"Set(LEG_CAUSE={NO_PROGRESS_CAUSE})" in text
    assert f"Set(LEG_CAUSE={REDIRECTED_CAUSE})" in text
    assert f"MSet(LEG_CAUSE={LOOP_CAUSE}," in text
    assert f'"{NO_ANSWER}"]?{NO_ANSWER_CAUSE}:{VENDORS_FAULT_CAUSE}' in text
    assert f"${{LEFT_MS}} < {MIN_LEFT_MS}]?late" in text
    (causes,) = re.findall(r'Set\(FINAL_CODE=\$\{IF\(\$\[\$\{REGEX\("\^\(([\d|]+)\)\$"', text)
    own = set(SIP_OF_CAUSE) - {int(cause) for cause in causes.split("|")}  # that Asterisk has no code for
    assert own == {REFUSAL_CAUSE[Refusal.TOO_MANY_HOPS]}
    assert f"${{FINAL_CAUSE}} = {own.pop()}]?{SIP_OF_CAUSE[LOOP_CAUSE]}:503" in text


def test_a_route_that_takes_another_legs_number_takes_all_its_variables(texts: dict[str, str]) -> None:
    """A route's caller sent with another route's number would show a vendor what it may not see."""
    text = texts["extensions.conf"]
    moved = set(re.findall(r"Set\(ROUTE_\$\{LEG\}_(\w+)=\$\{ROUTE_\$\{ROUTE\}_\1\}\)", text))
    used = set(re.findall(r"\$\{ROUTE_\$\{(?:LEG|LAST)\}_(\w+)\}", text))
    assert used - {"LIMITS"} == moved
    assert {"CALLER", "CALLER_NAME", "WITHHELD", "DIAL"} <= moved
