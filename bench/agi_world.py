"""The configuration that P2 asks a router about: forty customers who may spend anything, thirty vendors, real rows."""

from typing import Any, Final

import psycopg

CUSTOMERS: Final = 40
VENDORS: Final = 30
SECRET: Final = "the secret of the router that is measured"
_STATEMENTS: Final = f"""
    INSERT INTO companies (name) SELECT 'Customer ' || n FROM generate_series(1, {CUSTOMERS}) AS n;
    INSERT INTO companies (name) SELECT 'Vendor ' || n FROM generate_series(1, {VENDORS}) AS n;
    INSERT INTO accounts (name, company_id, kind, currency, payment, credit_limit)
    SELECT name || ' USD', company_id, CASE WHEN name LIKE 'Customer%' THEN 'customer' ELSE 'vendor' END, 'USD',
           'postpaid', CASE WHEN name LIKE 'Customer%' THEN 100000000 ELSE 0 END
    FROM companies WHERE name LIKE 'Customer %' OR name LIKE 'Vendor %';
    INSERT INTO billing_packs (name, currency) VALUES ('1/1', 'USD');
    INSERT INTO route_classes (name) VALUES ('all');
    INSERT INTO decks (name) SELECT 'sold';
    INSERT INTO decks (name) SELECT 'bought ' || n FROM generate_series(1, {VENDORS}) AS n;
    INSERT INTO prices (deck_id, code, price)
    SELECT deck_id, code::text, CASE WHEN name = 'sold' THEN 0.05 ELSE 0.01 + deck_id * 0.001 END
    FROM decks, generate_series(10, 999) AS code WHERE name = 'sold' OR name LIKE 'bought %';
    INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id)
    SELECT company_id, 'customer-' || substr(companies.name, 10), 'originator',
           'c-customer-' || substr(companies.name, 10), ('127.1.0.' || substr(companies.name, 10))::inet,
           account_id, pack_id, deck_id, route_class_id
    FROM companies JOIN accounts USING (company_id), billing_packs, decks, route_classes
    WHERE companies.name LIKE 'Customer %' AND decks.name = 'sold';
    INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id)
    SELECT company_id, 'vendor-' || substr(companies.name, 8), 'terminator', 'v-vendor-' || substr(companies.name, 8),
           ('127.2.0.' || substr(companies.name, 8))::inet, account_id, pack_id, deck_id
    FROM companies JOIN accounts USING (company_id)
         JOIN decks ON decks.name = 'bought ' || substr(companies.name, 8), billing_packs;
    INSERT INTO route_class_entries (route_class_id, peer_id, priority)
    SELECT route_classes.route_class_id, peer_id, 0 FROM route_classes, peers WHERE role = 'terminator';
"""


def make_agi_world(dsn: str) -> None:
    """Fill a migrated, empty database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        _run(connection)


def _run(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        for statement in _STATEMENTS.split(";"):
            if statement.strip():
                connection.execute(statement.encode())
