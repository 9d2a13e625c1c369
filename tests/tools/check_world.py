"""A small world for check routing: one customer, three vendors, loaded as a user loads his own."""

from pathlib import Path

from decision_table import write_deck

from billing.prices.load import load_deck
from configuration.load import load

WORLD = """
nodes: [ast1]
packs:
  - {name: Retail, currency: USD, notation: 1/1}
  - {name: Wholesale, currency: USD, notation: 30/6, connect_fee: 0.001}
route_classes:
  - name: Standard
    entries: [{peer: vendor-a}, {peer: vendor-b}, {peer: vendor-c, priority: 2}]
companies:
  - name: Acme
    accounts: [{name: Acme USD, kind: customer, currency: USD, payment: postpaid, credit_limit: 1000, hold: false}]
    peers:
      - {name: acme, role: originator, host: 192.0.2.10, pack: Retail, route_class: Standard}
      - {name: acme-tech, role: originator, host: 192.0.2.11, tech_prefix: "123", pack: Retail, route_class: Standard,
         deck: acme}
  - name: Vendors
    accounts: [{name: Vendors USD, kind: vendor, currency: USD, payment: postpaid}]
    peers:
      - {name: vendor-a, role: terminator, host: 203.0.113.1, pack: Wholesale}
      - {name: vendor-b, role: terminator, host: 203.0.113.2, pack: Wholesale}
      - {name: vendor-c, role: terminator, host: 203.0.113.3, pack: Wholesale}
"""
DECKS: dict[str, dict[str, object]] = {
    "acme": {"44": "0.0100", "447": "0.0300", "49": "0.0100", "1": "0.0060", "33": "blocked"},
    "vendor-a": {"44": {"always": "0.0060", "2030-01-01": "0.0070"}, "447": "0.0200", "49": "0.0200"},
    "vendor-b": {"44": {"always": "0.0065"}, "447": "0.0400", "49": "0.0300"},
    "vendor-c": {"44": "0.0010", "447": "blocked"},
}


def load_check_world(dsn: str, directory: Path) -> None:
    """Into a migrated database."""
    path = directory / "world.yaml"
    path.write_text(WORLD)
    load(dsn, path)
    for peer, prices in DECKS.items():
        deck = directory / f"{peer}.csv"
        write_deck(deck, prices)
        load_deck(dsn, peer, deck)
