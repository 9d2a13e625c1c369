"""Fixtures of all tests: a small world of a user's own, and the seeded small one, made once to be read."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from configuration.load import load
from simulator.market.seed import seed

WORLD = """
nodes: [ast1]
packs:
  - {name: Retail, currency: USD, notation: 1/1}
  - {name: Wholesale, currency: USD, notation: 30/6, connect_fee: 0.001}
  - {name: Berlin, currency: EUR, notation: 60/60/0, time_zone: Europe/Berlin}
  - {name: Free, currency: USD, notation: 1/1/3, allow_free_codes: true}
route_classes:
  - {name: Standard, entries: [{peer: vendor-a, priority: 2}, {peer: vendor-b}]}
companies:
  - name: Acme
    country: NO
    accounts: [{name: Acme prepaid, kind: customer, currency: USD}]
    peers: [{name: acme, role: originator, host: 192.0.2.10, pack: Retail, route_class: Standard, tech_prefix: 0044}]
  - name: Vendors
    accounts:
      - {name: Vendor USD, kind: vendor, currency: USD, payment: postpaid}
      - {name: Vendor EUR, kind: vendor, currency: EUR, payment: postpaid, credit_limit: 0.000001}
    peers:
      - {name: vendor-a, role: terminator, host: 198.51.100.1, pack: Wholesale, account: Vendor USD, nodes: [ast1]}
      - {name: vendor-b, role: terminator, host: 198.51.100.2, pack: Berlin, account: Vendor EUR, minimum_margin: -0.5}
      - {name: vendor-free, role: terminator, host: 198.51.100.3, pack: Free, account: Vendor USD}
"""


@pytest.fixture
def world_yaml() -> str:
    """A user's own world."""
    return WORLD


@pytest.fixture
def world_dsn(postgres_dsn: str, tmp_path: Path) -> str:
    """A database of this test's own with that world in it."""
    path = tmp_path / "world.yaml"
    path.write_text(WORLD, encoding="utf-8")
    load(postgres_dsn, path)
    return postgres_dsn


@pytest.fixture(scope="session")
def small_dsn(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A database with the seeded small world of seed 1. Tests read it only."""
    name = f"streamco_test_{os.getpid()}_small_world"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"'.encode())
        dsn = urlsplit(postgres_server)._replace(path=f"/{name}").geturl()
        try:
            seed(dsn, "small", 1)
            yield dsn
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
