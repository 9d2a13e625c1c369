"""The ledger's side: new entries in the order of commits, the entries of single legs, balances and holds.

All of a run is read in one snapshot. What lies below the snapshot's xmin is complete: every transaction before it has
ended. What lies above and can be seen already is the next run's; only the balances know of it now.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

from sinks.audit.continuous.fold import Difference, Found, Posted, Waiting

MAX_HOLDS_NAMED: Final = 200
_HORIZON: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_SERVER: Final = (
    "SELECT system_identifier::text || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_SLICE: Final = """
    SELECT posted_xact FROM ledger_entries WHERE posted_xact >= %(first)s AND posted_xact < %(horizon)s
    ORDER BY posted_xact OFFSET %(most)s LIMIT 1
"""
# The revenue accounts are few, one a currency; a join would compare every new entry with every account there is.
_NEW: Final = """
    SELECT reference, account_id, (amount * 1000000)::bigint,
           kind <> 'payment' AND reference ~ '^[a-z0-9]+-[0-9]+-[0-9.]+/[0-9]+$', kind = 'leg',
           contra_account_id = ANY ((SELECT array_agg(account_id) FROM accounts
                                     WHERE kind = 'system' AND name LIKE 'revenue %%')::int[]),
           (extract(epoch FROM occurred_at) * 1000)::bigint
    FROM ledger_entries
    WHERE posted_xact >= %(first)s AND posted_xact < %(horizon)s
"""
_FOUND: Final = """
    SELECT reference, ledger_entries.account_id, (sum(amount * sign) * 1000000)::bigint,
           bool_and(posted_xact < %(horizon)s)
    FROM ledger_entries,
         LATERAL (SELECT CASE WHEN name LIKE 'revenue %%' THEN -1 ELSE 1 END AS sign FROM accounts
                  WHERE accounts.account_id = contra_account_id) AS contra
    WHERE reference = ANY (%(legs)s::text[])
    GROUP BY 1, 2
"""
_BALANCES: Final = """
    SELECT account_id, (balance * 1000000)::bigint,
           ((coalesce(counted.entries, 0) + coalesce(new.entries, 0)) * 1000000)::bigint
    FROM account_balances
    LEFT JOIN audit_accounts AS counted USING (account_id)
    LEFT JOIN (
        SELECT account_id, sum(amount) AS entries FROM ledger_entries WHERE posted_xact >= %(first)s GROUP BY 1
    ) AS new USING (account_id)
    WHERE balance <> coalesce(counted.entries, 0) + coalesce(new.entries, 0)
"""
_HELD: Final = """
    SELECT account_id, (held * 1000000)::bigint, (coalesce(amount, 0) * 1000000)::bigint
    FROM account_balances
    LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM holds GROUP BY 1) AS open USING (account_id)
    WHERE held <> coalesce(amount, 0)
"""
_OF_ENDED: Final = """
    SELECT call_id FROM holds WHERE EXISTS (SELECT FROM ledger_entries WHERE reference = call_id || '/0') LIMIT %(most)s
"""
_EXPIRED: Final = "SELECT call_id FROM holds WHERE expires_at < %(before)s ORDER BY call_id LIMIT %(most)s"
_DEAD: Final = """
    SELECT leg_id, bool_or(state = 'open') FROM dead_letters
    WHERE leg_id = ANY (%(legs)s::text[]) AND state <> 'replayed' GROUP BY 1
"""


class Window(NamedTuple):
    """New entries: from a position (inclusive) to a horizon (exclusive), complete. `more`: it was cut at the limit."""

    entries: list[Posted]
    horizon: int
    more: bool


def server_of(connection: psycopg.Connection[Any]) -> str:
    """Which database this is: transaction numbers of another mean nothing here."""
    return str(_one(connection, f"{_SERVER} FROM pg_control_system()"))


def horizon_of(connection: psycopg.Connection[Any]) -> int:
    """Below it every transaction has ended."""
    return int(_one(connection, _HORIZON))


@contextlib.contextmanager
def _by_position(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """In a transaction: the index by position is used, whatever the planner believes of the newest rows.

    It knows little of what came after its statistics were made; guessing wrong, it would read the whole ledger.
    """
    connection.execute("SET LOCAL enable_seqscan = off")
    yield
    connection.execute("SET LOCAL enable_seqscan = on")


def summarize(connection: psycopg.Connection[Any]) -> None:
    """Have the index by position say what the newest pages hold: it reads all of those of which it does not know."""
    connection.execute("SELECT summarize_ledger()")


def new_entries(connection: psycopg.Connection[Any], first: int, most: int) -> Window:
    """The entries from a position on; about `most`, whole transactions only. In a transaction."""
    horizon = horizon_of(connection)
    with _by_position(connection):
        cut = connection.execute(_SLICE, {"first": first, "horizon": horizon, "most": most}).fetchone()
        # A transaction that alone has more than the limit is taken whole: the ledger's batches are small.
        end = horizon if cut is None else max(int(cut[0]), first + 1)
        rows = connection.execute(_NEW, {"first": first, "horizon": end}).fetchall()
    return Window([Posted(*row) for row in rows], end, end < horizon)


def find(connection: psycopg.Connection[Any], legs: Sequence[Waiting], horizon: int) -> dict[str, Found]:
    """All entries of these legs, by the account that was rated where there is one; legs without any are left out."""
    rated = {leg.leg_id: leg.account_id for leg in legs}
    rows = connection.execute(_FOUND, {"legs": list(rated), "horizon": horizon}).fetchall()
    found: dict[str, Found] = {}
    for reference, *values in rows:
        entries = Found(*values)
        if reference not in found or entries.account_id == rated[reference]:
            found[reference] = entries
    return found


def dead_letters_of(connection: psycopg.Connection[Any], legs: Sequence[str]) -> dict[str, bool]:
    """Those of the legs that are dead letters: True, still to be decided; False, discarded."""
    return dict(connection.execute(_DEAD, {"legs": list(legs)}).fetchall()) if legs else {}


def balance_differences(connection: psycopg.Connection[Any], first: int, now_ms: int) -> list[Difference]:
    """Accounts whose balance is not the sum of their entries. `first`: the position up to which entries are counted."""
    with _by_position(connection):
        rows = connection.execute(_BALANCES, {"first": first}).fetchall()
    return [
        Difference("balance is not the sum of its entries", f"account {account}", now_ms, f"{balance} {entries}")
        for account, balance, entries in rows
    ]


def hold_differences(connection: psycopg.Connection[Any], expired: datetime, now_ms: int) -> list[Difference]:
    """What is wrong with holds: their sum, calls that have ended, calls that were to end before `expired`."""
    found = [
        Difference("held is not the sum of its holds", f"account {account}", now_ms, f"{held} {holds}")
        for account, held, holds in connection.execute(_HELD).fetchall()
    ]
    for kind, query in (("hold of a call that has ended", _OF_ENDED), ("hold past its expiry", _EXPIRED)):
        rows = connection.execute(query, {"most": MAX_HOLDS_NAMED, "before": expired}).fetchall()
        found += [Difference(kind, f"{row[0]}/0", now_ms) for row in rows]
    return found


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise psycopg.InternalError(f"no row of: {query}")
    return row[0]
