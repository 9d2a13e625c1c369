"""Look-ups, mobile networks and inward numbers of a world's file, in PostgreSQL and as the router reads them."""

from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from configuration.entities.lookups import Looked, LookupService
from configuration.load import load
from router.snapshot.lookups import read_lookups
from runtime.changing import WorldError

pytestmark = pytest.mark.servers
WORLD = """
lookups:
  - {name: NPAC, kind: lrn, url: "http://127.0.0.1:8080/lrn/{number}", answer_field: data.lrn, codes: ["1"]}
  - {name: HLR, kind: hlr, url: "https://hlr.example/{number}", answer_field: mccmnc, when_failed: refuse}
mobile_networks: [{mccmnc: "28401", code: "35988"}]
dids: [{number: 35924000, peer: our-pbx}, {number: 3592, peer: our-pbx}]
packs: [{name: P, currency: USD, notation: 1/1}]
route_classes: [{name: All, entries: []}]
companies:
  - name: Acme
    accounts: [{name: C, kind: customer, currency: USD}, {name: V, kind: vendor, currency: USD}]
    peers:
      - {name: acme, role: originator, host: 192.0.2.10, pack: P, route_class: All, lookup: NPAC, rate_by: routing,
         trust_lrn: true, trusted: true, verification: require, least_attestation: B, attestation: pass}
      - {name: our-pbx, role: terminator, host: 192.0.2.20, pack: P, send_routing_number: true}
"""


def _load(dsn: str, directory: Path, text: str) -> int:
    path = directory / "world.yaml"
    path.write_text(text)
    return load(dsn, path).changed


def test_what_is_loaded_is_what_the_router_reads(postgres_dsn: str, tmp_path: Path) -> None:
    assert _load(postgres_dsn, tmp_path, WORLD) > 0
    assert _load(postgres_dsn, tmp_path, WORLD) == 0
    with psycopg.connect(postgres_dsn) as connection:
        rules = read_lookups(connection)
        row = connection.execute(
            "SELECT lookups.name, trust_lrn, rate_by, verification, least_attestation, attestation"
            " FROM peers JOIN lookups USING (lookup_id) WHERE peers.name = 'acme'"
        ).fetchone()
        (pbx,) = connection.execute("SELECT peer_id FROM peers WHERE name = 'our-pbx'").fetchall()[0]
    assert row == ("NPAC", True, "routing", "require", "B", "pass")
    assert {one.name: (one.answer_field, one.codes) for one in rules.lookups.values()} == {
        "NPAC": ("data.lrn", ("1",)), "HLR": ("mccmnc", ()),
    }  # fmt: skip
    assert rules.mobile_networks == {"28401": "35988"}
    assert [rules.did(number) for number in ("35924000", "359240001", "35929", "3591", "35")] == [pbx, pbx, pbx, 0, 0]


def test_a_change_moves_the_generation(postgres_dsn: str, tmp_path: Path) -> None:
    _load(postgres_dsn, tmp_path, WORLD)
    with psycopg.connect(postgres_dsn) as connection:
        before = connection.execute("SELECT generation FROM configuration_generation").fetchone()
        assert _load(postgres_dsn, tmp_path, WORLD.replace('code: "35988"', 'code: "35989"')) == 1
        connection.rollback()
        assert connection.execute("SELECT generation FROM configuration_generation").fetchone() != before


@pytest.mark.parametrize(
    ("was", "becomes", "error"),
    [
        ("lookup: NPAC", "lookup: none such", r"peers\[0\].lookup 'none such': there is none of that name"),
        ("peer: our-pbx}, {", "peer: nobody}, {", r"dids\[0\].peer 'nobody': there is none of that name"),
        ("peer: our-pbx}, {", "peer: acme}, {", "a number leads to a terminator"),
        ("{number}\", answer_field: data", "x\", answer_field: data", r"lookups\[0\].url"),
        ("send_routing_number: true", "trust_lrn: true", "trust_lrn True: is for peers that are originator"),
        ("verification: require", "verification: ignore", "goes with verification require"),
        ("trusted: true, ", "", "of a peer that is trusted"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(postgres_dsn: str, tmp_path: Path, was: str, becomes: str, error: str) -> None:
    with pytest.raises(WorldError, match=error):
        _load(postgres_dsn, tmp_path, WORLD.replace(was, becomes))


@pytest.mark.parametrize(
    "url", ["ftp://x/{number}", "http://x/", "http://x/{number} ", "http://x/{number}\n", "{number}"]
)
def test_a_url_has_one_place_for_the_number(url: str) -> None:
    with pytest.raises(ValidationError):
        LookupService(name="x", kind="lrn", url=url, answer_field="lrn")


def test_a_peer_without_any_of_it_is_as_ever() -> None:
    assert Looked().model_dump() == {
        "lookup": None, "trust_lrn": False, "rate_by": "dialled", "verification": "ignore", "least_attestation": "",
        "attestation": "", "send_routing_number": False,
    }  # fmt: skip
