"""A payment by hand: the account by name, an exact decimal amount, a reason that people will read."""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from runtime.changing import WorldError, changing, write_who
from runtime.user_acts import Person
from schemas.money import MoneyError, decimal_from_micros, micros_from_decimal
from sinks.payments import PaymentError, post_payment

_AMOUNT: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,256}")


@dataclass(frozen=True)
class PayResult:
    """What was posted, and the account's balance after it (what we owe its holder)."""

    reference: str
    account: str
    currency: str
    amount: Decimal
    balance: Decimal


def pay(
    dsn: str, account: str, amount: Decimal | str, reason: str, reference: str = "", by: Person | None = None
) -> PayResult:
    """Post a payment from a customer, or to a vendor; a negative amount goes the other way (a refund).

    `reference` is the payment's own name, used once; without it one is made. Raises WorldError.
    """
    errors = []
    text = str(amount)
    if _AMOUNT.fullmatch(text) is None or not Decimal(text):
        errors.append(f"amount {text[:40]!r}: must be a decimal with a point, at most six decimals, not zero")
    if _LINE.fullmatch(reason) is None or not reason.strip():
        errors.append(f"reason {reason[:40]!r}: must be one line of 1 to 256 characters")
    if reference and _LINE.fullmatch(reference) is None:
        errors.append(f"reference {reference[:40]!r}: must be one line of at most 256 characters")
    if errors:
        raise WorldError(errors)
    try:
        amount_micros = micros_from_decimal(Decimal(text))
        with changing(dsn) as connection:
            payment = post_payment(
                connection, account, amount_micros, reason.strip(), reference or _new_reference(), datetime.now(UTC)
            )
            told = f"{text} {payment.currency}, {payment.reference}: {reason.strip()}"
            write_who(connection, by, "money", "pay", account, told)
    except (MoneyError, PaymentError) as error:
        raise WorldError([str(error)]) from error
    return PayResult(
        payment.reference, account, payment.currency, Decimal(text), decimal_from_micros(payment.balance_micros)
    )


def _new_reference() -> str:
    return f"payment/{uuid.uuid4().hex}"
