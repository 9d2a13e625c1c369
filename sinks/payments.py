"""Payments: one double entry against cash and the balance of its account, in the caller's transaction.

Sign as in the ledger: a balance is what we owe the account's holder. A customer who pays adds to it; a vendor whom we
pay takes from it. A negative amount is the same the other way round: a refund.
"""

from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from schemas.money import MAX_AMOUNT_MICROS, decimal_from_micros, micros_from_decimal


class PaymentError(ValueError):
    """A payment that cannot be posted: names the field, the value and the rule."""


class Payment(NamedTuple):
    """A payment as it was posted. Amounts in micros of the account's currency; the balance is that afterwards."""

    reference: str
    account_id: int
    currency: str
    amount_micros: int
    balance_micros: int


def post_payment(
    connection: psycopg.Connection[Any], account: str, amount_micros: int, reason: str, reference: str, at: datetime
) -> Payment:
    """Post a payment to the account of that name, at the moment `at`. Must run inside a transaction.

    `reference` is used once for an account: a second payment with it is refused. Raises PaymentError, psycopg.Error.
    """
    if amount_micros == 0 or abs(amount_micros) > MAX_AMOUNT_MICROS:
        raise PaymentError(f"amount {decimal_from_micros(amount_micros)}: must not be zero or out of range")
    row = connection.execute("SELECT account_id, kind, currency FROM accounts WHERE name = %s", (account,)).fetchone()
    if row is None:
        raise PaymentError(f"account {account!r}: there is no account of that name")
    account_id, kind, currency = row
    if kind == "system":
        raise PaymentError(f"account {account!r}: is one of the system's own, which take no payments")
    signed = amount_micros if kind == "customer" else -amount_micros
    connection.execute("SELECT ledger_partition(%s)", (at,))
    # The lock first: whoever pays the same reference at the same time waits here, and then finds it.
    connection.execute("SELECT FROM account_balances WHERE account_id = %s FOR NO KEY UPDATE", (account_id,))
    used = connection.execute(
        "SELECT 1 FROM ledger_entries WHERE reference = %s AND account_id = %s", (reference, account_id)
    ).fetchone()
    if used is not None:
        raise PaymentError(f"reference {reference!r}: a payment of account {account!r} has it already")
    posted = connection.execute(
        "INSERT INTO ledger_entries (reference, account_id, occurred_at, kind, contra_account_id, amount, reason)"
        " SELECT %s, %s, %s, 'payment', account_id, %s, %s FROM accounts WHERE kind = 'system' AND name = %s",
        (reference, account_id, at, decimal_from_micros(signed), reason, f"cash {currency}"),
    )
    if posted.rowcount != 1:
        raise PaymentError(f"account {account!r}: there is no account 'cash {currency}' to take the other side")
    balance = connection.execute(
        "UPDATE account_balances SET balance = balance + %s WHERE account_id = %s RETURNING balance",
        (decimal_from_micros(signed), account_id),
    ).fetchone()
    if balance is None:
        raise PaymentError(f"account {account!r}: has no balance row")
    return Payment(reference, account_id, currency, amount_micros, micros_from_decimal(balance[0]))
