"""Originators whose addresses meet: what a file may not say, what it is warned of, what Asterisk is given."""

import re
from pathlib import Path

import psycopg
import pytest

from configuration.asterisk.reader import read_peers
from configuration.load import LoadResult, load
from runtime.changing import WorldError

pytestmark = pytest.mark.servers
PLACE = "companies[0].peers[0]"
# Acme's own is 192.0.2.10 with the tech prefix 0044 (conftest.py).
OTHER = """
nodes: [ast2]
companies:
  - name: Borealis
    accounts: [{{name: Borealis USD, kind: customer, currency: USD}}]
    peers: [{{name: borealis, role: originator, pack: Retail, route_class: Standard, {}}}]
"""
ACME = "companies: [{name: Acme, peers: [{name: second, role: originator, pack: Retail, route_class: Standard, %s}]}]"


def _load(dsn: str, directory: Path, text: str) -> LoadResult:
    path = directory / "other.yaml"
    path.write_text(text)
    return load(dsn, path)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ("host: 192.0.2.10, codecs: alaw", True),
        ("host: 192.0.2.10, codecs: 'ulaw,alaw'", True),  # the order says which is preferred
        ("host: 192.0.2.10, codecs: alaw, nodes: [ast1]", True),  # the other one is on every node
        ("host: 192.0.2.10", False),
        ("host: 192.0.2.10, codecs: alaw, enabled: false", False),
        ("host: 192.0.2.0/24, codecs: alaw", False),  # Asterisk tells networks of other lengths apart
        ("host: 192.0.2.11, codecs: alaw", False),
    ],
)
def test_codecs_that_asterisk_cannot_tell_apart_are_refused(
    world_dsn: str, tmp_path: Path, fields: str, wrong: bool
) -> None:
    if not wrong:
        _load(world_dsn, tmp_path, OTHER.format(fields))
        return
    with pytest.raises(WorldError) as caught:
        _load(world_dsn, tmp_path, OTHER.format(fields))
    codecs = fields.partition("codecs: ")[2].partition(", nodes")[0].strip("'")
    assert caught.value.messages == (
        f"{PLACE}.codecs '{codecs}': must be 'alaw,ulaw' as of 'acme', which has the same host 192.0.2.10 on one node:"
        " Asterisk cannot tell them apart by their tech prefixes",
    )


def test_on_different_nodes_they_are_told_apart_until_one_is_on_both(world_dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(world_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO peer_nodes SELECT peer_id, node_id FROM peers, nodes"
            " WHERE peers.name = 'acme' AND nodes.name = 'ast1'"
        )
        _load(world_dsn, tmp_path, OTHER.format("host: 192.0.2.10, codecs: gsm, nodes: [ast2]"))
        with pytest.raises(psycopg.errors.CheckViolation, match="must be gsm as those of peer borealis"):
            connection.execute("DELETE FROM peer_nodes WHERE peer_id = (SELECT peer_id FROM peers WHERE name = 'acme')")
        with pytest.raises(psycopg.errors.CheckViolation, match="peer borealis: codecs gsm: must be alaw,ulaw"):
            connection.execute(
                "INSERT INTO peer_nodes SELECT peer_id, node_id FROM peers, nodes"
                " WHERE peers.name = 'borealis' AND nodes.name = 'ast1'"
            )


def test_both_change_in_one_file_and_one_alone_does_not(world_dsn: str, tmp_path: Path) -> None:
    _load(world_dsn, tmp_path, OTHER.format("host: 192.0.2.10"))
    acme = "name: acme, role: originator, host: 192.0.2.10, pack: Retail, route_class: Standard, tech_prefix: 0044"
    both = OTHER.format("host: 192.0.2.10, codecs: gsm")
    both += f"  - {{name: Acme, country: 'NO', peers: [{{{acme}, codecs: gsm}}]}}\n"
    assert _load(world_dsn, tmp_path, both).changed == 2
    with pytest.raises(WorldError, match=r"peers\[0\]\.codecs 'alaw': must be 'gsm' as of 'acme'"):
        _load(world_dsn, tmp_path, OTHER.format("host: 192.0.2.10, codecs: alaw"))
    with psycopg.connect(world_dsn) as connection:
        connection.execute("UPDATE peers SET codecs = 'alaw' WHERE name = 'acme'")
        with pytest.raises(psycopg.errors.CheckViolation, match="peer acme: codecs"):
            connection.commit()


def test_a_network_that_two_write_differently_is_one(world_dsn: str) -> None:
    with (
        psycopg.connect(world_dsn) as connection,
        pytest.raises(psycopg.errors.UniqueViolation, match="peers_identify"),
    ):
        connection.execute(
            "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id,"
            " tech_prefix) SELECT company_id, name || number, role, 'c-' || number,"
            " ('198.51.100.' || number || '/24')::inet, account_id, pack_id, deck_id, route_class_id, '7'"
            " FROM peers, generate_series(1, 2) AS number WHERE name = 'acme'"
        )


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ("host: 0.0.0.0/0", r"host '0\.0\.0\.0/0': every address that no other originator has is 'borealis'"),
        ("host: '::/0', nodes: [ast2]", r"host '::/0': every address that no other originator has is 'borealis'"),
        (
            "host: 192.0.0.0/16",
            r"host '192\.0\.0\.0/16': lies over the addresses of other companies: 'acme' \(192\.0\.2\.10\);"
            r" calls from there that do not fit their prefixes are 'borealis'",
        ),
        (
            "host: 192.0.0.0/16, tech_prefix: '9#'",
            r"lies over .* calls from there that begin with '9#' are 'borealis'",
        ),
        ("host: 192.0.3.0/24", None),
        ("host: 192.0.0.0/16, enabled: false", None),
        ("host: 192.0.2.10", None),  # told apart by their tech prefixes
    ],
)
def test_what_may_be_a_mistake_is_a_warning(world_dsn: str, tmp_path: Path, fields: str, warning: str | None) -> None:
    with psycopg.connect(world_dsn) as connection:
        connection.execute("INSERT INTO nodes (name, sip_ipv6) VALUES ('ast2', true)")
    for _ in range(2):  # also where nothing is changed any more
        found = _load(world_dsn, tmp_path, OTHER.format(fields)).warnings
        assert len(found) == (warning is not None)
        assert warning is None or re.match(r"companies\[0\]\.peers\[0\]\." + "(.*)" + warning, found[0])


def test_one_that_comes_into_anothers_network_is_warned_of_too(world_dsn: str, tmp_path: Path) -> None:
    wide = "host: 203.0.113.0/24"
    assert _load(world_dsn, tmp_path, OTHER.format(wide)).warnings == ()
    (warning,) = _load(world_dsn, tmp_path, ACME % "host: 203.0.113.9, tech_prefix: 1").warnings
    assert warning.startswith(f"{PLACE}.host '203.0.113.9': lies within 203.0.113.0/24 of 'borealis', another company;")


def test_one_company_may_lie_over_its_own_addresses(world_dsn: str, tmp_path: Path) -> None:
    assert _load(world_dsn, tmp_path, ACME % "host: 192.0.2.0/24").warnings == ()


def test_asterisk_is_given_one_of_a_network_and_it_is_an_enabled_one(world_dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(world_dsn, autocommit=True) as connection:
        connection.execute("UPDATE peers SET enabled = false, codecs = 'gsm' WHERE name = 'acme'")
        assert [peer.name for peer in read_peers(connection, "ast1") if peer.role == "originator"] == ["acme"]
        _load(world_dsn, tmp_path, OTHER.format("host: 192.0.2.10"))
        (one,) = [peer for peer in read_peers(connection, "ast1") if peer.role == "originator"]
        assert (one.name, one.host, one.codecs) == ("borealis", "192.0.2.10", "alaw,ulaw")
