"""Rows of the model of PostgreSQL: amounts in micros, times in Unix milliseconds. Never changed, only replaced."""

from typing import NamedTuple


class Account(NamedTuple):
    """A row of accounts."""

    name: str
    kind: str
    currency: str
    prepaid: bool = False
    credit_micros: int = 0
    by_money: bool = True


class Entry(NamedTuple):
    """A row of ledger_entries; its key is (reference, account, revision, occurred at)."""

    kind: str
    contra_account_id: int
    amount_micros: int
    billed_seconds: int


class HoldRow(NamedTuple):
    """A row of holds."""

    node: str
    peer_id: int
    account_id: int
    amount_micros: int
    covered_seconds: int
    quantum_seconds: int
    price_e8: int
    fee_micros: int
    minimum_seconds: int
    increment_seconds: int
    decimals: int
    admitted_ms: int
    expires_ms: int
    counted: bool = True
    gone_ms: int | None = None
    limit_keys: tuple[str, ...] = ()


class Counter(NamedTuple):
    """A row of limit_counters."""

    concurrent: int = 0
    second: int = 0
    in_second: int = 0


class Node(NamedTuple):
    """A row of nodes."""

    agent_id: str
    epoch: int
    seen_ms: int


class Leg(NamedTuple):
    """A leg as posting brings it."""

    reference: str
    account_id: int
    revision: int
    occurred_ms: int
    contra_account_id: int
    amount_micros: int
    billed_seconds: int


class BrokenError(Exception):
    """A CHECK of the schema does not hold."""
