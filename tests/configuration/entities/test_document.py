"""What a world's file may say: each fault is named with its path, its value and the rule. No database is asked."""

import time
from decimal import Decimal

import pytest
import yaml
from pydantic import ValidationError

from configuration.entities.document import Peer
from configuration.load.document import MAX_MESSAGES, parse_world
from runtime.changing import WorldError

PACK = "{{name: Retail, currency: USD, notation: 1/1, {}}}"
ACCOUNT = "{{name: Money, kind: customer, currency: USD, {}}}"
ORIGINATOR = "{{name: acme, role: originator, host: 192.0.2.1, pack: Retail, route_class: All, {}}}"
TERMINATOR = "{{name: vendor, role: terminator, host: 192.0.2.1, pack: Retail, {}}}"


def _of_pack(fields: str) -> str:
    return f"packs: [{PACK.format(fields)}]"


def _of_account(fields: str) -> str:
    return f"companies: [{{name: Acme, accounts: [{ACCOUNT.format(fields)}]}}]"


def _of_originator(fields: str) -> str:
    return f"companies: [{{name: Acme, peers: [{ORIGINATOR.format(fields)}]}}]"


def _of_terminator(fields: str) -> str:
    return f"companies: [{{name: Acme}}, {{name: Vendor, peers: [{TERMINATOR.format(fields)}]}}]"


def _without(yaml_text: str, field: str) -> str:
    """The same world where one field of the pack, account or peer is left out or its first value is gone."""
    start = yaml_text.index(f"{field}: ")
    end = yaml_text.index(",", start)
    return yaml_text[:start] + yaml_text[end + 2 :]


def _replaced(yaml_text: str, field: str, value: str) -> str:
    start = yaml_text.rindex(f" {field}: ") if field != "name" else yaml_text.rindex("{name: ")
    end = yaml_text.index(",", start)
    return f"{yaml_text[: start + 1]}{field}: {value}{yaml_text[end:]}"


PEER_0, PEER_1, ACCOUNT_0 = "companies[0].peers[0]", "companies[1].peers[0]", "companies[0].accounts[0]"
FAULTS = [
    ("nodes: [Ast1]", "nodes[0] 'Ast1'", "must be of the form"),
    ("nodes: ast1", "nodes 'ast1'", "valid tuple"),
    ("nodes: [a, b, a]", "nodes: 'a'", "is there twice"),
    ("companies: [{name: A}, {name: A}]", "companies: 'A'", "is there twice"),
    ("nonsense: 1", "nonsense", "there is no such field"),
    (_replaced(_of_pack(""), "currency", "usd"), "packs[0].currency 'usd'", "must be of the form ^[A-Z]{3}$"),
    (_without(_of_pack(""), "currency"), "packs[0].currency", "Field required"),
    (_replaced(_of_pack(""), "notation", "1/x"), "packs[0].notation '1/x'", "must be of the form"),
    (_replaced(_of_pack(""), "notation", "1/0"), "packs[0].notation '1/0'", "the increment 1 to 3600"),
    (_replaced(_of_pack(""), "notation", "1/3601"), "packs[0].notation '1/3601'", "the increment 1 to 3600"),
    (_replaced(_of_pack(""), "notation", "1/1/3601"), "packs[0].notation '1/1/3601'", "0 to 3600 seconds"),
    (_of_pack("connect_fee: -0.001"), "packs[0].connect_fee '-0.001'", "greater than or equal to 0"),
    (_of_pack("connect_fee: 1000.000001"), "packs[0].connect_fee '1000.000001'", "less than or equal to 1000"),
    (_of_pack("connect_fee: 0.0000001"), "packs[0].connect_fee '0.0000001'", "6 decimal places"),
    (_of_pack("connect_fee: NaN"), "packs[0].connect_fee 'NaN'", "finite"),
    (_of_pack("connect_fee: .inf"), "packs[0].connect_fee '.inf'", "valid decimal"),
    (_of_pack("connect_fee: true"), "packs[0].connect_fee True", "must be a decimal number"),
    (_of_pack("connect_fee: '0,01'"), "packs[0].connect_fee '0,01'", "valid decimal"),
    (_of_pack("rounding_decimals: 7"), "packs[0].rounding_decimals 7", "less than or equal to 6"),
    (_of_pack("rounding_decimals: true"), "packs[0].rounding_decimals True", "must be a whole number"),
    (_of_pack("duration_rounding: down"), "packs[0].duration_rounding 'down'", "'up', 'nearest' or 'none'"),
    (_of_pack("time_zone: Europe/Atlantis"), "packs[0].time_zone 'Europe/Atlantis'", "IANA"),
    (_of_pack("time_zone: ../../etc/passwd"), "packs[0].time_zone '../../etc/passwd'", "IANA"),
    (_of_pack("allow_free_codes: perhaps"), "packs[0].allow_free_codes 'perhaps'", "valid boolean"),
    (_of_pack("colour: red"), "packs[0].colour", "there is no such field"),
    (_replaced(_of_pack(""), "name", '"a\\nb"'), r"packs[0].name 'a\nb'", "must be of the form"),
    (_replaced(_of_pack(""), "name", '"a\\ud800b"'), "packs[0].name", "valid"),
    (_replaced(_of_pack(""), "name", "x" * 65), f"packs[0].name '{'x' * 65}'", "must be of the form"),
    (_replaced(_of_pack(""), "name", "true"), "packs[0].name True", "valid string"),
    ("companies: [{name: Acme, country: Norway}]", "companies[0].country 'Norway'", "must be of the form"),
    (_replaced(_of_account(""), "kind", "system"), f"{ACCOUNT_0}.kind 'system'", "'customer' or 'vendor'"),
    (_of_account("payment: cash"), f"{ACCOUNT_0}.payment 'cash'", "'prepaid' or 'postpaid'"),
    (_of_account("credit_limit: -1"), f"{ACCOUNT_0}.credit_limit -1", "greater than or equal to 0"),
    (_of_account("credit_limit: 1000000000000"), f"{ACCOUNT_0}.credit_limit 1000000000000", "12 digits before"),
    (_of_account("when_database_away: allow"), f"{ACCOUNT_0}.when_database_away 'allow'", "always refused"),
    (_of_account("hold: false"), f"{ACCOUNT_0}.hold False", "never without holds"),
    (_replaced(_of_originator(""), "name", "Acme"), f"{PEER_0}.name 'Acme'", "must be of the form"),
    (_replaced(_of_originator(""), "role", "both"), f"{PEER_0}.role 'both'", "'originator' or 'terminator'"),
    (_replaced(_of_originator(""), "host", "192.0.2.300"), f"{PEER_0}.host '192.0.2.300'", "must be an IP address"),
    (_replaced(_of_originator(""), "host", "sip.example.com"), f"{PEER_0}.host 'sip.example.com'", "must be an IP"),
    (_replaced(_of_originator(""), "host", "192.0.2.1/24"), f"{PEER_0}.host '192.0.2.1/24'", "host bits set"),
    (_replaced(_of_originator(""), "host", "3221225985"), f"{PEER_0}.host 3221225985", "as text"),
    (_replaced(_of_terminator(""), "host", "192.0.2.0/24"), f"{PEER_1}.host '192.0.2.0/24'", "is one address"),
    (_of_originator("port: 0"), f"{PEER_0}.port 0", "greater than or equal to 1"),
    (_of_originator("port: 65536"), f"{PEER_0}.port 65536", "less than or equal to 65535"),
    (_of_originator("port: true"), f"{PEER_0}.port True", "must be a whole number"),
    (_of_originator("port: 5060.5"), f"{PEER_0}.port '5060.5'", "valid integer"),
    (_of_originator("tech_prefix: '+44'"), f"{PEER_0}.tech_prefix '+44'", "must be of the form ^[0-9*#]{0,8}$"),
    (_of_originator("tech_prefix: ٠٤٤"), f"{PEER_0}.tech_prefix '٠٤٤'", "must be of the form ^[0-9*#]{0,8}$"),
    (_of_originator("tech_prefix: 123456789"), f"{PEER_0}.tech_prefix 123456789", "must be of the form"),
    (_of_originator("max_concurrent: -1"), f"{PEER_0}.max_concurrent -1", "greater than or equal to 0"),
    (_of_originator("max_cps: 10001"), f"{PEER_0}.max_cps 10001", "less than or equal to 10000"),
    (_of_originator("code_limits: [{code: 44, max_cps: -1}]"), f"{PEER_0}.code_limits[0].max_cps -1", "greater than"),
    (_of_originator("code_limits: [{code: '+44', max_cps: 1}]"), f"{PEER_0}.code_limits[0].code '+44'", "of the form"),
    (_of_originator("code_limits: [{code: 44}]"), f"{PEER_0}.code_limits[0]", "must be more than 0"),
    (
        _of_originator("code_limits: [{code: 44, max_cps: 1}, {code: '44', max_cps: 2}]"),
        PEER_0,
        "code '44' is there twice",
    ),
    (_of_originator("max_call_seconds: 0"), f"{PEER_0}.max_call_seconds 0", "greater than or equal to 1"),
    (_of_originator("ring_seconds: 301"), f"{PEER_0}.ring_seconds 301", "less than or equal to 300"),
    (_of_originator("profit: much"), f"{PEER_0}.profit 'much'", "'profit_only', 'no_losses' or 'allow_losses'"),
    (_of_originator("minimum_margin: 1000.1"), f"{PEER_0}.minimum_margin '1000.1'", "less than or equal to 1000"),
    (_of_originator("codecs: 'alaw,mp3'"), f"{PEER_0}.codecs 'alaw,mp3'", "must be of the form"),
    (_of_originator("codecs: 'alaw\n  bad=1'"), f"{PEER_0}.codecs", "must be of the form"),
    (_of_originator("endpoint: 'x]\n\n  [y'"), f"{PEER_0}.endpoint", "must be of the form"),
    (_of_originator("nodes: [ast1, ast1]"), f"{PEER_0}.nodes ['ast1', 'ast1']", "named twice"),
    (_without(_of_originator(""), "route_class"), f"{PEER_0}.route_class None", "originator needs route class"),
    (_of_terminator("route_class: All"), f"{PEER_1}.route_class 'All'", "terminator has no route class"),
    ("route_classes: [{name: A, entries: [{peer: B}]}]", "route_classes[0].entries[0].peer 'B'", "of the form"),
    (
        "route_classes: [{name: A, entries: [{peer: b, priority: 65536}]}]",
        "route_classes[0].entries[0].priority 65536",
        "less than or equal to 65535",
    ),
    (
        "route_classes: [{name: A, entries: [{peer: b}, {peer: b}]}]",
        "route_classes 'A': entries: 'b'",
        "is there twice",
    ),
]


@pytest.mark.parametrize(("text", "place", "rule"), FAULTS, ids=[place[:40] for _, place, _ in FAULTS])
def test_a_fault_is_one_message_with_path_value_and_rule(text: str, place: str, rule: str) -> None:
    with pytest.raises(WorldError) as caught:
        parse_world(text)
    (message,) = caught.value.messages
    assert message.startswith(place), message
    assert rule in message, message


def test_every_fault_of_a_file_is_told_and_a_flood_is_bounded() -> None:
    with pytest.raises(WorldError) as caught:
        parse_world("nodes: [A, b, C]\npacks: [{name: P}]")
    assert len(caught.value.messages) == 4
    with pytest.raises(WorldError) as caught:
        parse_world(f"nodes: [{', '.join(['X'] * 1_000)}]")
    assert len(caught.value.messages) == MAX_MESSAGES


def test_a_large_world_is_checked_in_time() -> None:
    """Names that are there twice are found without comparing each with each: this took hours."""
    begun = time.monotonic()
    with pytest.raises(ValidationError, match="is there twice"):
        type(parse_world("{}")).model_validate({"nodes": tuple(f"n{at % 30_000}" for at in range(60_000))})
    assert time.monotonic() - begun < 20


TRAPS = [
    ("a: &x 1\nnodes: [*x]", "line 2, column 9: aliases (*name) are not read here"),
    ("a: &a [*a]", "line 1, column 8: aliases"),
    ("nodes: !!python/object/apply:os.system ['true']", "line 1, column 8: tags"),
    ("nodes: [!!float 0.1]", "line 1, column 9: tags"),
    ("nodes: !!set {a}", "tags"),
    ("packs: [{allow_free_codes: !!bool 'no'}]", "tags"),
    ("nodes: ! [a]", "tags"),
    ("nodes: [a]\nnodes: [b]", "line 2, column 1: field 'nodes' is there twice"),
    ("companies: [{name: A, name: B}]", "line 1, column 23: field 'name' is there twice"),
    ("1: x", "field 1: must be text"),
    ("? [a]\n: b", "field ['a']: must be text"),
    ("true: x", "field True: must be text"),
    ("companies: [{<<: {name: A}}]", "companies[0].<<: there is no such field"),
    ("nodes: [a", "line 1"),
    ("\tnodes: []", "line 1, column 1"),
    (
        "nodes: []\n---\nnodes: []",
        "line 2, column 1: expected a single document in the stream: but found another document",
    ),
    ("nodes: ['\x00']", "not YAML"),
    ("", "the file must hold the fields nodes, packs"),
    ("[]", "the file must hold the fields nodes, packs"),
    ("just text", "the file must hold the fields nodes, packs"),
    ("[" * 5_000, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), TRAPS, ids=[message[:40] for _, message in TRAPS])
def test_what_yaml_is_not_read_says_where_and_why(text: str, message: str) -> None:
    with pytest.raises(WorldError) as caught:
        parse_world(text)
    assert any(message in told for told in caught.value.messages), caught.value.messages


def test_plain_scalars_are_what_the_user_wrote() -> None:
    world = parse_world(
        """
        packs: [{name: 0044, currency: USD, notation: 60/60, connect_fee: 0.1}, {name: 1e3, currency: USD,
                 notation: 1/1, connect_fee: 123456789012.123456}]
        companies:
          - {name: on, country: NO, enabled: false}
          - {name: 2026-12-01, country: null}
          - name: 12345678901234567890123
            accounts: [{name: 12:30:45, kind: customer, currency: EUR, credit_limit: 0.000001}]
            peers: [{name: a, role: originator, host: 192.0.2.0/24, pack: 0044, route_class: 1, tech_prefix: 0044},
                    {name: b, role: originator, host: "2001:DB8::1", pack: 0044, route_class: yes, tech_prefix: 44}]
        """.replace("connect_fee: 123456789012.123456", "connect_fee: 999.999999")
    )
    assert [pack.name for pack in world.packs] == ["0044", "1e3"]
    assert [pack.connect_fee for pack in world.packs] == [Decimal("0.1"), Decimal("999.999999")]
    assert [company.name for company in world.companies] == ["on", "2026-12-01", "12345678901234567890123"]
    assert [company.country for company in world.companies] == ["NO", None, None]
    assert not world.companies[0].enabled
    (account,) = world.companies[2].accounts
    assert (account.name, account.credit_limit) == ("12:30:45", Decimal("0.000001"))
    first, second = world.companies[2].peers
    assert (first.tech_prefix, second.tech_prefix) == ("0044", "44")
    assert (first.host, second.host) == ("192.0.2.0/24", "2001:db8::1")
    assert (first.route_class, second.route_class) == ("1", "yes")


def test_a_float_is_no_money() -> None:
    with pytest.raises(ValidationError, match="decimal number"):
        Peer.model_validate(
            {"name": "a", "role": "terminator", "host": "192.0.2.1", "pack": "P", "minimum_margin": 0.1}
        )


def test_what_a_peer_leaves_out() -> None:
    fields = {"name": "acme", "host": "192.0.2.1", "pack": "P"}
    originator = Peer.model_validate({**fields, "role": "originator", "route_class": "R"})
    terminator = Peer.model_validate({**fields, "role": "terminator"})
    assert (originator.endpoint, originator.deck, terminator.endpoint) == ("c-acme", "acme", "v-acme")
    named = Peer.model_validate({**fields, "role": "terminator", "endpoint": "other", "deck": "Shared"})
    assert (named.endpoint, named.deck) == ("other", "Shared")


def test_the_worlds_that_the_faults_are_put_into_are_good() -> None:
    """Else the tests above could pass for another reason than the one that they name."""
    for text in (_of_pack(""), _of_account(""), _of_originator(""), _of_terminator("")):
        assert parse_world(text)
        assert isinstance(yaml.safe_load(text), dict)
