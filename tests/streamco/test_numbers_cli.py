"""Patterns tried on the command line: a peer's own, and others before they are saved."""

from pathlib import Path

import psycopg
import pytest

from configuration.load import load
from router.check import TrialError
from streamco.numbers_cli import trial_of

pytestmark = pytest.mark.servers
WORLD = """
packs: [{name: P, currency: USD, notation: 1/1}]
route_classes: [{name: R}]
companies:
  - name: Acme
    accounts: [{name: A, kind: customer, currency: USD}, {name: V, kind: vendor, currency: USD}]
    peers:
      - name: acme
        role: originator
        host: 192.0.2.1
        pack: P
        route_class: R
        tech_prefix: 77
        country_code: 49
        national_prefix: 0
        translations: {callee: [{pattern: '^011', replacement: '+'}]}
      - name: vendor
        role: terminator
        host: 192.0.2.2
        pack: P
        tech_prefix: 9
        translations: {caller: [{pattern: '^49', replacement: '0'}]}
"""


def test_a_peers_patterns_and_others(postgres_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    load(postgres_dsn, tmp_path / "world.yaml")
    with psycopg.connect(postgres_dsn) as connection:
        saved = trial_of(connection, "acme", None, "callee", (), "77011493012345")
        assert (saved.result, saved.refused, len(saved.steps)) == ("493012345", "", 3)
        assert trial_of(connection, "acme", "in", "callee", (("^9", "030"),), "7791").result == "49301"
        assert "must begin with the tech prefix" in trial_of(connection, "acme", None, "callee", (), "4930").refused
        assert trial_of(connection, "vendor", "out", "caller", (), "493012345").result == "03012345"
        assert trial_of(connection, "vendor", None, "callee", (), "493012345").result == "9493012345"
        with pytest.raises(TrialError, match=r"rule 2, pattern '\(': RE2 does not accept it"):
            trial_of(connection, "acme", None, "callee", (("1", ""), ("(", "")), "1")
        with pytest.raises(TrialError, match="peer 'nobody': there is no peer of that name"):
            trial_of(connection, "nobody", None, "callee", (), "1")
        with pytest.raises(TrialError, match="direction 'out': acme is an originator: its patterns are in"):
            trial_of(connection, "acme", "out", "callee", (), "1")
