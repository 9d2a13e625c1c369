"""Exceptions and allow-lists in a world's file: what is written, refused and said."""

from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configuration.entities.numbers import Block
from configuration.load import LoadResult, load
from configuration.load.allow_lists import exceptions_from_nothing
from configuration.load.document import parse_world
from runtime.changing import WorldError

DIGITS = st.text("149", max_size=4)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(["callee", "caller", "callee_pool"]))
    value = draw(DIGITS) if kind != "callee_pool" else draw(st.sampled_from(["fraud", "friends"]))
    action = draw(st.sampled_from(["allow", "deny"]))
    return Block.model_validate({kind: value, "action": action, "enabled": draw(st.booleans())})


@given(
    st.lists(blocks(), max_size=6),
    st.sets(st.tuples(st.sampled_from(["callee", "callee_pool"]), DIGITS), max_size=3),
    st.sets(st.sampled_from(["callee", "caller"])),
)
def test_an_exception_from_nothing_is_one_that_no_denial_begins(
    rules: list[Block], denials: set[tuple[str, str]], lists: set[str]
) -> None:
    expected = []
    for index, rule in enumerate(rules):
        denied_by = [
            denied for kind, denied in denials if kind == rule.kind and (rule.prefix or "").startswith(denied)
        ] if rule.prefix is not None else [kind for kind, _ in denials if kind == rule.kind]  # fmt: skip
        if rule.enabled and rule.action == "allow" and rule.kind not in lists and not denied_by:
            expected.append(index)
    assert exceptions_from_nothing(rules, denials, lists) == expected


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("allow_only: [dialled]", "allow_only[0] 'dialled'", "'callee', 'zone'"),
        ("allow_only: callee", "allow_only 'callee'", "tuple"),
        ("allow_only: [callee, callee]", "allow_only", "one of them is there twice"),
    ],
)
def test_a_fault_is_named(text: str, place: str, rule: str) -> None:
    with pytest.raises(WorldError) as raised:
        parse_world(text)
    (message,) = raised.value.messages
    assert message.startswith(place), message
    assert rule in message


PEER = "companies: [{{name: Acme, peers: [{{name: acme, role: originator, host: 192.0.2.10, pack: Retail, \
route_class: Standard, tech_prefix: 0044, {}}}]}}]"


def load_text(dsn: str, path: Path, text: str) -> LoadResult:
    (path / "rules.yaml").write_text(text)
    return load(dsn, path / "rules.yaml")


def lists(dsn: str) -> list[tuple[str | None, str]]:
    query = "SELECT peers.name, kind FROM allow_lists LEFT JOIN peers USING (peer_id) ORDER BY 1 NULLS FIRST, 2"
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.servers
def test_allow_lists_are_written_once_kept_and_ended(world_dsn: str, tmp_path: Path) -> None:
    fields = "allow_only: [callee, zone], blocks: [{callee: 49, action: allow}]"
    text = PEER.format(fields) + "\nallow_only: [caller]"
    country = 1  # the file's company has none
    assert load_text(world_dsn, tmp_path, text).changed == 2 + 1 + 1 + country
    again = load_text(world_dsn, tmp_path, text)
    assert (again.changed, again.warnings) == (0, ())
    assert lists(world_dsn) == [(None, "caller"), ("acme", "callee"), ("acme", "zone")]
    kept = load_text(world_dsn, tmp_path, PEER.format("blocks: [{callee: 47, action: allow}]"))
    assert (kept.warnings, lists(world_dsn)) == ((), [(None, "caller"), ("acme", "callee"), ("acme", "zone")])
    ended = load_text(world_dsn, tmp_path, PEER.format("allow_only: [zone]") + "\nallow_only: []")
    assert (ended.changed, lists(world_dsn)) == (2, [("acme", "zone")])


@pytest.mark.servers
def test_a_file_of_before_is_never_quietly_wider(world_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(WorldError) as raised:
        load_text(world_dsn, tmp_path, PEER.format("blocks: [{callee: 44}, {callee: 49, action: allow}]"))
    (message,) = raised.value.messages
    assert message.startswith("companies[0].peers[0].blocks[1].callee '49': it is allowed, and no rule denies it.")
    assert "allow_only: [callee]" in message
    assert "allow_only: []" in message
    with pytest.raises(WorldError, match=r"^blocks\[0\]\.zone 'CU mobile': it is allowed, and no rule denies it"):
        load_text(world_dsn, tmp_path, "blocks: [{zone: {country: CU, kind: mobile}, action: allow}]")
    text = PEER.format("blocks: [{callee: 44}, {callee: 447, action: allow}]")
    (note,) = load_text(world_dsn, tmp_path, text).warnings
    assert note.startswith("companies[0].peers[0].blocks: rules of kind callee that allow are exceptions")
    assert load_text(world_dsn, tmp_path, text).warnings == ()  # it is known by then
    meant = PEER.format("allow_only: [], blocks: [{callee: 4}, {callee: 447, action: allow}]")
    assert load_text(world_dsn, tmp_path, meant).warnings == ()


@pytest.mark.servers
def test_an_originators_leave_may_be_an_exception_from_a_rule_for_all(world_dsn: str, tmp_path: Path) -> None:
    allowed = "blocks: [{callee: 8821, action: allow}]"
    result = load_text(world_dsn, tmp_path, PEER.format(allowed) + "\nblocks: [{callee: 882}]")
    assert len(result.warnings) == 1
    vendor = (  # who is not concerned by rules for all calls
        "companies: [{name: Vendors, peers: [{name: vendor-a, role: terminator, host: 198.51.100.1, pack: Wholesale,"
        f" account: Vendor USD, {allowed}}}]}}]"
    )
    with pytest.raises(WorldError, match=r"peers\[0\]\.blocks\[0\]\.callee '8821'"):
        load_text(world_dsn, tmp_path, vendor)
