"""What a world's file may say of numbers, and what is said of the rest; a second load changes nothing."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from configuration.load import load, load_pool
from configuration.load.document import parse_world
from runtime.changing import WorldError

PEER = "companies: [{{name: A, peers: [{{name: a, role: {}, host: 192.0.2.1, pack: P, {}}}]}}]"
AT = "companies[0].peers[0]"


def originator(fields: str) -> str:
    return PEER.format("originator, route_class: R", fields)


FAULTS = [
    (originator("country_code: 049"), f"{AT}.country_code '049'", "must be of the form"),
    (originator("country_code: 4949"), f"{AT}.country_code 4949", "must be of the form"),
    (originator("national_prefix: 0"), f"{AT}.national_prefix '0'", "needs a country_code"),
    (originator("national_prefix: 01234, country_code: 1"), f"{AT}.national_prefix '01234'", "must be of the form"),
    (originator("trusted: perhaps"), f"{AT}.trusted 'perhaps'", "valid boolean"),
    (originator("pass_diversion: sometimes"), f"{AT}.pass_diversion 'sometimes'", "valid boolean"),
    (originator("anonymous: block"), f"{AT}.anonymous 'block'", "'allow' or 'refuse'"),
    (PEER.format("terminator", "anonymous: refuse"), f"{AT}.anonymous 'refuse'", "only an originator"),
    (PEER.format("terminator", "country_code: 49"), f"{AT}.country_code '49'", "only an originator"),
    (originator("translations: {callee: [{pattern: '(?=x)'}]}"), f"{AT}.translations.callee[0].pattern '(?=x)'", "RE2"),
    (originator("translations: {callee: [{pattern: '('}]}"), f"{AT}.translations.callee[0].pattern '('", "RE2"),
    (originator("translations: {caller: [{pattern: a}, {pattern: a, replacement: '\\1'}]}"),
     f"{AT}.translations.caller[1].replacement", "the pattern has 0"),
    (originator("translations: {caller: [{pattern: a, replacement: '$x'}]}"),
     f"{AT}.translations.caller[0].replacement '$x'", "must be up to 64"),
    (originator("translations: {called: []}"), f"{AT}.translations.called", "there is no such field"),
    (originator("translations: {callee: [" + "{pattern: a}," * 33 + "]}"), f"{AT}.translations.callee", "at most 32"),
    ("blocks: [{}]", "blocks[0].callee", "exactly one of"),
    ("blocks: [{callee: 44, caller: 44}]", "blocks[0].callee", "exactly one of"),
    ("blocks: [{callee: '+44'}]", "blocks[0].callee '+44'", "must be of the form"),
    ("blocks: [{callee: 1234567890123456}]", "blocks[0].callee", "must be of the form"),
    ("blocks: [{callee: 44, action: drop}]", "blocks[0].action 'drop'", "'deny' or 'allow'"),
    ("blocks: [{zone: {}}]", "blocks[0].zone.name", "needs a country, a name or a kind"),
    ("blocks: [{zone: {kind: roaming}}]", "blocks[0].zone.kind 'roaming'", "'fixed', 'mobile'"),
    ("blocks: [{callee: 44, until: tomorrow}]", "blocks[0].until 'tomorrow'", "must be an ISO moment"),
    ("blocks: [{callee: 44, from: '2027-01-02', until: '2027-01-01'}]", "blocks[0].until", "must be after"),
    ("pools: [a, a]", "pools: 'a'", "is there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "rule"), FAULTS, ids=[str(number) for number in range(len(FAULTS))])
def test_a_fault_is_named(text: str, place: str, rule: str) -> None:
    with pytest.raises(WorldError) as raised:
        parse_world(text)
    (message,) = raised.value.messages
    assert message.startswith(place), message
    assert rule in message


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


RULES = """
pools: [fraud]
companies:
  - name: Acme
    country: NO
    peers:
      - name: acme
        role: originator
        host: 192.0.2.10
        pack: Retail
        route_class: Standard
        tech_prefix: 0044
        country_code: 47
        trusted: true
        pass_diversion: true
        translations: {callee: [{pattern: '^1', replacement: 2}, {pattern: '^9'}]}
        blocks: [{callee: 44}, {zone: {country: CU, kind: mobile}}, {caller_pool: fraud, until: '2027-01-01'}]
blocks: [{callee_pool: fraud, reason: known}]
"""


@pytest.mark.servers
def test_rules_are_written_once_and_a_list_is_the_whole_list(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    assert load(world_dsn, path).changed == 1 + 1 + 2 + 3 + 1  # pool, peer, patterns, blocks
    assert load(world_dsn, path).changed == 0
    assert rows(world_dsn, "SELECT trusted, pass_diversion FROM peers WHERE name = 'acme'") == [(True, True)]
    assert rows(world_dsn, "SELECT direction, field, position, pattern, replacement FROM translations") == [
        ("in", "callee", 1, "^1", "2"), ("in", "callee", 2, "^9", ""),
    ]  # fmt: skip
    query = "SELECT kind, prefix, country, zone_kind, pool_id IS NULL FROM blocks ORDER BY block_id"
    assert rows(world_dsn, query) == [
        ("callee_pool", None, None, None, False),  # of all calls
        ("callee", "44", None, None, True), ("zone", None, "CU", "mobile", True),
        ("caller_pool", None, None, None, False),
    ]  # fmt: skip
    path.write_text(RULES.replace("{callee: 44}, ", "").replace(", {pattern: '^9'}", ""))
    load(world_dsn, path)
    assert rows(world_dsn, "SELECT count(*) FROM blocks") == [(3,)]
    assert rows(world_dsn, "SELECT pattern FROM translations") == [("^1",)]
    path.write_text("pools: []")  # what a file does not name stays
    assert load(world_dsn, path).changed == 0


@pytest.mark.servers
def test_a_pool_that_is_not_there_is_an_error(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("blocks: [{callee: 44}, {callee_pool: nothing}]")
    with pytest.raises(WorldError, match=r"blocks\[1\].callee_pool 'nothing': there is no pool"):
        load(world_dsn, path)
    assert rows(world_dsn, "SELECT count(*) FROM blocks") == [(0,)]


@pytest.mark.servers
def test_a_terminators_pattern_cannot_be_saved_as_one_for_calls_in(world_dsn: str) -> None:
    with psycopg.connect(world_dsn) as connection, pytest.raises(psycopg.errors.CheckViolation, match="are out"):
        connection.execute(
            "INSERT INTO translations SELECT peer_id, 'in', 'callee', 1, 'a', '' FROM peers WHERE name = 'vendor-a'"
        )


@pytest.mark.servers
def test_a_pool_is_its_file_and_a_repeat_announces_nothing(world_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.csv"
    path.write_text("Number\r\n4915100\r\n\r\n4915101\r\n4915100\r\n")
    result = load_pool(world_dsn, "new pool", path)
    assert (result.rows, result.inserted, result.removed) == (3, 2, 0)
    before = rows(world_dsn, "SELECT version, generation FROM number_pools, configuration_generation")
    assert load_pool(world_dsn, "new pool", path).inserted == 0
    assert rows(world_dsn, "SELECT version, generation FROM number_pools, configuration_generation") == before
    path.write_text("number\n4915101\n4915102\n")
    assert (load_pool(world_dsn, "new pool", path).inserted, before[0][0]) < (2, before[0][0] + 1)
    assert rows(world_dsn, "SELECT number FROM pool_numbers ORDER BY 1") == [("4915101",), ("4915102",)]
    assert rows(world_dsn, "SELECT version FROM number_pools")[0][0] > before[0][0]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code\n44\n", "row 1: the header 'code' must be number"),
        ("", "row 1: the header '' must be number"),
        ("number\n44\n+44\n", "row 3, column number, value '+44': must be 1 to 15 digits"),
        ("number\n44\n44 12\n", "row 3, column number, value '44 12': must be 1 to 15 digits"),
        ("number\n" + "1" * 300 + "\n", "must be 1 to 15 digits"),
        ("number\n٤٤\n", "must be 1 to 15 digits"),
        ("number\n" + "x\n" * 300, "row 101, column number"),
    ],
)
def test_errors_by_row_and_nothing_is_there_then(world_dsn: str, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pool.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WorldError) as raised:
        load_pool(world_dsn, "new pool", path)
    assert said in str(raised.value)
    assert len(raised.value.messages) <= 100
    assert rows(world_dsn, "SELECT count(*) FROM number_pools") == [(0,)]
