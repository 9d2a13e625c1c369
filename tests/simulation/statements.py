"""The product's SQL statements, each carried out on the model of the tables. A statement that is not here is an error:
what the product asks of PostgreSQL cannot change without this being looked at.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from agent import counters
from agent.restart import orphans
from schemas.ids import epoch_of
from schemas.money import decimal_from_micros, decimal_from_price_e8
from sinks import holds, ledger, node_calls
from tests.simulation.letter_statements import LETTERS, Handler, Rows, nothing, sql
from tests.simulation.tables import Entry, HoldRow, Leg, Node, Tables


def numbers(text: str) -> list[int]:
    """An array literal of whole numbers."""
    return [int(one) for one in text[1:-1].split(",")] if len(text) > 2 else []


def texts(value: str | list[str]) -> list[str]:
    """An array literal of texts, or a list."""
    if isinstance(value, list):
        return value
    return next(csv.reader([value[1:-1]], escapechar="\\", doublequote=False)) if len(value) > 2 else []


def ms(moment: datetime) -> int:
    """Unix milliseconds."""
    return round(moment.timestamp() * 1000)


def micros(amount: Decimal) -> int:
    """Micros of a decimal."""
    return int(amount.scaleb(6))


def e8(price: Decimal) -> int:
    """10⁻⁸ of a decimal."""
    return int(price.scaleb(8))


def decimal(amount_micros: int | None) -> Decimal | None:
    """As numeric(18,6) comes back."""
    return None if amount_micros is None else decimal_from_micros(amount_micros)


def _legs(columns: Sequence[str]) -> list[Leg]:
    first, *others, _offsets = columns  # the offsets are for the seals of topics, which nothing here is old enough for
    return [Leg(*row) for row in zip(texts(first), *map(numbers, others), strict=True)]


def _post(tables: Tables, columns: Any, _: int) -> Rows:
    return [tables.post(_legs(columns))]


def _revise(tables: Tables, columns: Any, _: int) -> Rows:
    return [(tables.revise(_legs(columns)),)]


def _contra(tables: Tables, _: Any, __: int) -> Rows:
    system = {number: one for number, one in tables.accounts.items() if one.kind == "system"}
    return [(one.name.split(" ")[0], one.currency, number) for number, one in system.items() if " " in one.name]


def _admit(tables: Tables, given: Any, now_ms: int) -> Rows:
    call, node, *more = given  # texts, all of them
    peer, account, first, least, further = map(int, more[:5])
    price, fee, *counts = more[5:10]
    minimum, increment, decimals = map(int, counts)
    keys, most, cps, start, end = more[10:]
    limits = list(zip(texts(keys), numbers(most), numbers(cps), strict=True))
    starts_ms, ends_ms = (ms(datetime.fromisoformat(moment)) for moment in (start, end))
    hold = HoldRow(
        node, peer, account, 0, first, further, e8(Decimal(price)), micros(Decimal(fee)), minimum, increment, decimals,
        starts_ms, ends_ms,
    )  # fmt: skip
    outcome, free, held = tables.admit(call, hold, least, limits, now_ms)
    return [(outcome, decimal(free), decimal(held))]


def _place(tables: Tables, given: Any, _: int) -> Rows:
    node, text = given
    wanted = [
        {
            **one,
            "price_e8": e8(Decimal(one["price"])),
            "fee_micros": micros(Decimal(one["connect_fee"])),
            "decimals": one["rounding_decimals"],
        }
        for one in json.loads(text)
    ]
    return [(call_id,) for call_id in tables.place(node, wanted)]


def _long_gone(tables: Tables, given: Any, now_ms: int) -> Rows:
    node, seconds, limit = given
    gone = [
        (hold.gone_ms, call_id)
        for call_id, hold in tables.holds.items()
        if hold.node == node and hold.gone_ms is not None and hold.gone_ms < now_ms - seconds * 1000
    ]
    return [(call_id,) for _, call_id in sorted(gone)[:limit]]


def _sweep(tables: Tables, given: Any, now_ms: int) -> Rows:
    node, _, live, never_ended, before = given
    rows = tables.sweep(node, frozenset(live), frozenset(never_ended), ms(before), now_ms)
    return [(call_id, account_id, decimal(amount), why) for call_id, account_id, amount, why in rows]


def _without_hold(tables: Tables, given: Any, _: int) -> Rows:
    return [(call_id,) for call_id in given[0] if call_id not in tables.holds]


def _claim(tables: Tables, given: Any, now_ms: int) -> Rows:
    known = tables.nodes.get(given["node"])
    if known is not None and known.agent_id != given["agent"] and known.seen_ms >= now_ms - given["silent"] * 1000:
        return []
    tables.nodes[given["node"]] = Node(given["agent"], given["epoch"], now_ms)
    return [()]


def _list_calls(tables: Tables, given: Any, now_ms: int) -> Rows:
    node, calls = given
    tables.node_calls[node] = (now_ms, frozenset(calls))
    return [()]


def _held_before(tables: Tables, given: Any, _: int) -> Rows:
    node, epoch, known, limit = given
    rows = [
        (
            call_id, datetime.fromtimestamp(hold.admitted_ms / 1000, UTC), hold.peer_id, hold.account_id,
            hold.account_id, tables.accounts[hold.account_id].currency, decimal_from_price_e8(hold.price_e8),
            decimal(hold.fee_micros), hold.minimum_seconds, hold.increment_seconds, hold.decimals,
        )
        for call_id, hold in sorted(tables.holds.items())
        if hold.node == node and epoch_of(call_id) < epoch and call_id not in known
    ]  # fmt: skip
    return list(rows[:limit])


def _account_of_name(tables: Tables, given: Any, _: int) -> Rows:
    return [(number, one.kind, one.currency) for number, one in tables.accounts.items() if one.name == given[0]]


def _payment_used(tables: Tables, given: Any, _: int) -> Rows:
    return [(1,) for key in tables.references.get(given[0], ()) if key[1] == given[1]][:1]


def _pay(tables: Tables, given: Any, _: int) -> Rows:
    reference, account_id, at, amount, _, contra = given
    contras = [number for number, one in tables.accounts.items() if one.kind == "system" and one.name == contra]
    for number in contras:
        tables.insert((reference, account_id, 0, ms(at)), Entry("payment", number, micros(amount), 0))
    return [()] * len(contras)


def _add_to_balance(tables: Tables, given: Any, _: int) -> Rows:
    amount, account_id = given
    tables.move([(account_id, micros(amount))])
    return [(decimal(tables.balance[account_id]),)] if account_id in tables.balance else []


# By how a statement begins, its spaces evened out.
HANDLERS: Final[Mapping[str, Handler]] = {
    sql(ledger._LOCK): lambda tables, given, _: tables.lockable(numbers(given[0]), texts(given[1])),
    sql(ledger._POST): _post,
    sql(ledger._REVISE): _revise,
    "SELECT split_part(name, ' ', 1), currency, account_id FROM accounts WHERE kind = 'system'": _contra,
    "SELECT ledger_partition(": nothing,
    "SELECT release_holds(": lambda tables, given, _: [(tables.release(texts(given[0])),)],
    sql(holds.ADMIT_ONCE): _admit,
    "SELECT unpaid_call, paid_until FROM extend_holds(": lambda tables, given, _: list(
        tables.extend(dict(zip(given[0], given[1], strict=True)), given[2])
    ),
    "SELECT uncount_calls(": lambda tables, given, now_ms: [(tables.uncount(given[0], now_ms),)],
    "SELECT uncount_missing(": lambda tables, given, now_ms: [
        (tables.uncount_missing(given[0], frozenset(given[1]), ms(given[2]), now_ms),)
    ],
    "SELECT call_id FROM unnest(%s::text[]) AS call_id WHERE NOT EXISTS": _without_hold,
    "SELECT place_holds(": _place,
    "SELECT call_id FROM holds WHERE node = %s AND NOT counted AND gone_at <": _long_gone,
    "SELECT call_id, account_id, amount, why FROM sweep_holds(": _sweep,
    sql(counters._CLAIM): _claim,
    sql(counters._DISK): nothing,
    sql(node_calls.LIST_CALLS): _list_calls,
    sql(orphans.HELD): _held_before,
    sql(orphans.DECIDED): lambda *_: [],  # there is no auditor that would have found decisions without an end
    **LETTERS,
    "SELECT account_id, kind, currency FROM accounts WHERE name = %s": _account_of_name,
    "SELECT FROM account_balances WHERE account_id = %s FOR NO KEY UPDATE": nothing,
    "SELECT 1 FROM ledger_entries WHERE reference = %s AND account_id = %s": _payment_used,
    "INSERT INTO ledger_entries (reference, account_id, occurred_at, kind, contra_account_id, amount, reason)": _pay,
    "UPDATE account_balances SET balance = balance + %s WHERE account_id = %s RETURNING balance": _add_to_balance,
}
_known: dict[str, Handler] = {}


def handler_of(statement: str) -> Handler:
    """What carries a statement out. Raises KeyError for one that the model does not know."""
    found = _known.get(statement)
    if found is None:
        text = sql(statement)
        matching = [handler for start, handler in HANDLERS.items() if text.startswith(start)]
        if len(matching) != 1:
            raise KeyError(f"{len(matching)} models of the statement: {text[:200]}")
        found = _known[statement] = matching[0]
    return found
