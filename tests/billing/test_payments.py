"""Payments: exact, once, on both sides of the ledger, or not at all."""

import threading
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from billing.payments import pay
from runtime.changing import WorldError

pytestmark = pytest.mark.servers


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def _entries(dsn: str) -> list[tuple[Any, ...]]:
    return _rows(
        dsn,
        "SELECT mine.name, contra.name, amount::text, reason, reference FROM ledger_entries JOIN accounts mine"
        " USING (account_id) JOIN accounts contra ON contra.account_id = contra_account_id ORDER BY posted_at",
    )


def _balance(dsn: str, account: str) -> str:
    ((balance,),) = _rows(
        dsn, f"SELECT balance::text FROM account_balances JOIN accounts USING (account_id) WHERE name = '{account}'"
    )
    return str(balance)


def test_a_payment_and_its_refund_are_exact(world_dsn: str) -> None:
    paid = pay(world_dsn, "Acme prepaid", "100.000001", " bank transfer 4711 ", "r1")
    assert (paid.reference, paid.account, paid.currency) == ("r1", "Acme prepaid", "USD")
    assert (paid.amount, paid.balance) == (Decimal("100.000001"), Decimal("100.000001"))
    refund = pay(world_dsn, "Acme prepaid", Decimal("-0.1"), "too much", "r2")
    assert refund.balance == Decimal("99.900001")
    assert _balance(world_dsn, "Acme prepaid") == "99.900001"
    assert _entries(world_dsn) == [
        ("Acme prepaid", "cash USD", "100.000001", "bank transfer 4711", "r1"),
        ("Acme prepaid", "cash USD", "-0.100000", "too much", "r2"),
    ]


def test_what_a_vendor_is_paid_takes_from_what_we_owe_him(world_dsn: str) -> None:
    assert pay(world_dsn, "Vendor EUR", "12.5", "invoice 7", "i7").balance == Decimal("-12.5")
    assert _entries(world_dsn) == [("Vendor EUR", "cash EUR", "-12.500000", "invoice 7", "i7")]


def test_each_balance_is_the_sum_of_its_entries_and_nothing_is_left_over(world_dsn: str) -> None:
    for number in range(20):
        pay(world_dsn, "Acme prepaid", f"0.{number + 1:06d}", f"payment {number}")
        pay(world_dsn, "Vendor EUR", f"-{number}.5", f"payment {number}")
    assert _rows(
        world_dsn,
        "SELECT name FROM account_balances JOIN accounts USING (account_id) WHERE balance <>"
        " (SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account_id = account_balances.account_id)",
    ) == []  # fmt: skip
    assert _balance(world_dsn, "Acme prepaid") == "0.000210"
    assert _balance(world_dsn, "Vendor EUR") == "200.000000"
    assert _rows(
        world_dsn,
        "SELECT count(*) FROM ledger_entries e JOIN accounts a USING (account_id) JOIN accounts c"
        " ON c.account_id = contra_account_id WHERE c.kind <> 'system' OR a.currency <> c.currency",
    ) == [(0,)]
    assert len({row[4] for row in _entries(world_dsn)}) == 40, "each payment has a reference of its own"


@pytest.mark.parametrize(
    ("account", "amount", "reason", "reference", "message"),
    [
        ("Acme prepaid", "0.0000001", "x", "", "amount '0.0000001': must be a decimal with a point, at most six"),
        ("Acme prepaid", "0", "x", "", "amount '0': "),
        ("Acme prepaid", "-0.000000", "x", "", "amount '-0.000000': "),
        ("Acme prepaid", "1,5", "x", "", "amount '1,5': "),
        ("Acme prepaid", "1e3", "x", "", "amount '1e3': "),
        ("Acme prepaid", "NaN", "x", "", "amount 'NaN': "),
        ("Acme prepaid", "Infinity", "x", "", "amount 'Infinity': "),
        ("Acme prepaid", "+1", "x", "", "amount '+1': "),
        ("Acme prepaid", "1_000", "x", "", "amount '1_000': "),
        ("Acme prepaid", "١", "x", "", "amount '١': "),
        ("Acme prepaid", "1\n", "x", "", "amount '1\\n': "),
        ("Acme prepaid", "1000000000000", "x", "", "amount '1000000000000': "),
        ("Acme prepaid", "1", "", "", "reason '': must be one line"),
        ("Acme prepaid", "1", "   ", "", "reason '   ': must be one line"),
        ("Acme prepaid", "1", "two\nlines", "", "reason 'two\\nlines': must be one line"),
        ("Acme prepaid", "1", "\x1b[2J", "", "reason '\\x1b[2J': must be one line"),
        ("Acme prepaid", "1", "nul\x00", "", "reason 'nul\\x00': must be one line"),
        ("Acme prepaid", "1", "a\u2028b", "", "reason 'a\\u2028b': must be one line"),
        ("Acme prepaid", "1", "bytes\udcff", "", "reason 'bytes\\udcff': must be one line"),
        ("Acme prepaid", "1", "x" * 257, "", "reason 'xxxx"),
        ("Acme prepaid", "1", "x", "a\nb", "reference 'a\\nb': must be one line"),
        ("Acme", "1", "x", "", "account 'Acme': there is no account of that name"),
        ("", "1", "x", "", "account '': there is no account of that name"),
        ("cash USD", "1", "x", "", "account 'cash USD': is one of the system's own"),
        ("unidentified", "1", "x", "", "account 'unidentified': is one of the system's own"),
        ("Acme\x00", "1", "x", "", "PostgreSQL"),
        ("Acme\udcff", "1", "x", "", "is not text that can be stored"),
    ],
)
def test_what_is_refused_is_told_and_posts_nothing(
    world_dsn: str, account: str, amount: str, reason: str, reference: str, message: str
) -> None:
    with pytest.raises(WorldError) as caught:
        pay(world_dsn, account, amount, reason, reference)
    (told,) = caught.value.messages
    assert message in told
    assert _entries(world_dsn) == []


def test_all_that_is_wrong_is_told_at_once(world_dsn: str) -> None:
    with pytest.raises(WorldError) as caught:
        pay(world_dsn, "nobody", "x", "\n", "\n")
    assert len(caught.value.messages) == 3


def test_a_reference_is_used_once_for_an_account(world_dsn: str) -> None:
    pay(world_dsn, "Acme prepaid", "1", "first", "same")
    with pytest.raises(WorldError, match="reference 'same': a payment of account 'Acme prepaid' has it already"):
        pay(world_dsn, "Acme prepaid", "1", "second", "same")
    pay(world_dsn, "Vendor USD", "1", "another account", "same")
    assert _balance(world_dsn, "Acme prepaid") == "1.000000"
    assert len(_entries(world_dsn)) == 2


def test_of_payments_of_one_reference_at_once_one_is_posted(world_dsn: str) -> None:
    outcomes: list[bool] = []
    start = threading.Barrier(6)

    def attempt() -> None:
        start.wait()
        try:
            pay(world_dsn, "Acme prepaid", "1", "at once", "same")
            outcomes.append(True)
        except WorldError:
            outcomes.append(False)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 5 + [True]
    assert _balance(world_dsn, "Acme prepaid") == "1.000000"


def test_a_balance_that_would_not_fit_posts_nothing(world_dsn: str) -> None:
    pay(world_dsn, "Acme prepaid", "999999999999.999999", "all there is", "r1")
    with pytest.raises(WorldError, match="PostgreSQL refuses"):
        pay(world_dsn, "Acme prepaid", "0.000001", "one too many", "r2")
    assert _balance(world_dsn, "Acme prepaid") == "999999999999.999999"
    assert len(_entries(world_dsn)) == 1


def test_without_the_other_side_nothing_is_posted(world_dsn: str) -> None:
    with psycopg.connect(world_dsn) as connection:
        connection.execute("UPDATE accounts SET name = 'renamed' WHERE name = 'cash USD'")
    with pytest.raises(WorldError, match="there is no account 'cash USD' to take the other side"):
        pay(world_dsn, "Acme prepaid", "1", "one-sided", "r1")
    assert _balance(world_dsn, "Acme prepaid") == "0.000000"
    assert _entries(world_dsn) == []


def test_no_server_is_told() -> None:
    with pytest.raises(WorldError, match="PostgreSQL does not answer"):
        pay("postgresql://nobody@127.0.0.1:1/nothing", "Acme", "1", "x")
