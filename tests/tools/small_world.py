"""The smallest world that holds and ledger need, for tests: one customer, one vendor, a peer each."""

from decimal import Decimal
from typing import Any, NamedTuple

import psycopg


class SmallWorld(NamedTuple):
    """Ids of what was made."""

    customer_account: int
    vendor_account: int
    originator: int
    terminator: int


def make_small_world(
    connection: psycopg.Connection[Any], balance: Decimal = Decimal(0), credit_limit: Decimal = Decimal(0)
) -> SmallWorld:
    """Companies, accounts, packs, decks and peers; the customer's account has `balance` by an entry of the ledger."""

    def one(statement: str, *values: object) -> int:
        row = connection.execute(statement.encode(), values).fetchone()
        assert row is not None
        return int(row[0])

    with connection.transaction():
        buyer = one("INSERT INTO companies (name) VALUES ('Buyer') RETURNING company_id")
        seller = one("INSERT INTO companies (name) VALUES ('Seller') RETURNING company_id")
        customer = one(
            "INSERT INTO accounts (name, company_id, kind, currency, payment, credit_limit)"
            " VALUES ('Buyer USD', %s, 'customer', 'USD', 'postpaid', %s) RETURNING account_id",
            buyer,
            credit_limit,
        )
        vendor = one(
            "INSERT INTO accounts (name, company_id, kind, currency, payment)"
            " VALUES ('Seller USD', %s, 'vendor', 'USD', 'postpaid') RETURNING account_id",
            seller,
        )
        pack = one("INSERT INTO billing_packs (name, currency) VALUES ('1/1', 'USD') RETURNING pack_id")
        deck = one("INSERT INTO decks (name) VALUES ('deck') RETURNING deck_id")
        route_class = one("INSERT INTO route_classes (name) VALUES ('all') RETURNING route_class_id")
        originator = one(
            "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id, route_class_id)"
            " VALUES (%s, 'buyer', 'originator', 'c-buyer', '127.0.0.10', %s, %s, %s, %s) RETURNING peer_id",
            buyer, customer, pack, deck, route_class,
        )  # fmt: skip
        terminator = one(
            "INSERT INTO peers (company_id, name, role, endpoint, host, account_id, pack_id, deck_id)"
            " VALUES (%s, 'seller', 'terminator', 'v-seller', '127.0.0.21', %s, %s, %s) RETURNING peer_id",
            seller, vendor, pack, deck,
        )  # fmt: skip
        if balance:
            connection.execute("SELECT ledger_partition(now())")
            connection.execute(
                "INSERT INTO ledger_entries (reference, account_id, occurred_at, kind, contra_account_id, amount)"
                " SELECT 'opening', %s, now(), 'payment', account_id, %s FROM accounts WHERE name = 'cash USD'",
                (customer, balance),
            )
            connection.execute(
                "UPDATE account_balances SET balance = balance + %s WHERE account_id = %s", (balance, customer)
            )
    return SmallWorld(customer, vendor, originator, terminator)


def add_route(connection: psycopg.Connection[Any], world: SmallWorld) -> None:
    """Numbers that begin with 44 have a price, and go to the vendor."""
    with connection.transaction():
        connection.execute("INSERT INTO prices (deck_id, code, price) SELECT deck_id, '44', 0.06 FROM decks")
        connection.execute(
            "INSERT INTO route_class_entries (route_class_id, peer_id) SELECT route_class_id, %s FROM route_classes",
            (world.terminator,),
        )
