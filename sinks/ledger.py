"""The ledger: rated legs become double entries in PostgreSQL, once each, and move the balances by what was inserted.

One transaction a batch: the accounts are locked in ascending order (the order that everybody keeps, so that nobody
deadlocks), entries are inserted with ON CONFLICT DO NOTHING, balances move by the rows that were really inserted, and
the holds of ended calls are released. A repeat of any batch, in any cut, changes nothing.

The sum of a leg's entries is the amount of its highest revision posted, in whatever order its revisions come: 0 is an
estimate, 1 what the journal says, above it what was rated again. The first to come posts whole; a higher one posts the
difference, as a correction; a lower one posts nothing, on whatever account. (The estimate of a call that died before
any line is on its hold's account; its true end may be nobody's, where no router's answer came. That estimate has no
money.) Ordinary legs, which are nearly all, are not looked for in the ledger: `revised_legs` names the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import psycopg

from schemas.events import RatedLeg
from schemas.facts import UNIDENTIFIED_ACCOUNT_ID
from schemas.ids import split_leg_id

Places = Mapping[tuple[str, int], int]  # (leg, revision): offset of the message in rated-legs
_NOWHERE: Final[Places] = MappingProxyType({})
ORDINARY_REVISION: Final = 1  # of a leg that the journal closed
_KIND_OF_SIDE: Final = {"receivable": "customer", "payable": "vendor"}
_CONTRA_OF_SIDE: Final = {"receivable": "revenue", "payable": "cost"}

_LOCK: Final = """
    SELECT accounts.account_id, accounts.kind, accounts.currency
    FROM account_balances JOIN accounts USING (account_id)
    WHERE account_balances.account_id IN (
        SELECT unnest(%s::int[]) UNION SELECT account_id FROM holds WHERE call_id = ANY (%s::text[])
    )
    ORDER BY account_balances.account_id
    FOR NO KEY UPDATE OF account_balances
"""
_LEGS: Final = """
    legs AS MATERIALIZED (
        SELECT reference, account_id, revision, timestamptz 'epoch' + occurred_at_ms * interval '1 millisecond'
               AS occurred_at, contra_account_id, amount_micros * 0.000001 AS amount, billed_seconds, rated_offset
        FROM unnest(%s::text[], %s::int[], %s::int2[], %s::int8[], %s::int[], %s::int8[], %s::int[], %s::int8[])
            AS legs (reference, account_id, revision, occurred_at_ms, contra_account_id, amount_micros, billed_seconds,
                     rated_offset)
    )
"""
_MOVED: Final = """
    moved AS (
        UPDATE account_balances SET balance = balance + sums.amount
        FROM (SELECT account_id, sum(amount) AS amount FROM inserted GROUP BY account_id) AS sums
        WHERE account_balances.account_id = sums.account_id AND sums.amount <> 0
    )
"""
_INSERT: Final = """
    INSERT INTO ledger_entries
        (reference, account_id, revision, occurred_at, kind, contra_account_id, amount, billed_seconds, rated_offset)
"""
# Legs of revision 1. Comes out: how many were inserted, and which have other revisions and were left alone.
_POST: Final = f"""
    WITH {_LEGS}, revised AS (
        SELECT leg_id FROM revised_legs WHERE leg_id IN (SELECT reference FROM legs)
    ), inserted AS (
        {_INSERT}
        SELECT reference, account_id, revision, occurred_at, 'leg', contra_account_id, amount, billed_seconds,
               rated_offset
        FROM legs WHERE reference NOT IN (SELECT leg_id FROM revised)
        ON CONFLICT DO NOTHING
        RETURNING account_id, amount
    ), {_MOVED}
    SELECT (SELECT count(*) FROM inserted), ARRAY(SELECT leg_id FROM revised)
"""  # noqa: S608 - made of constants
# Legs of which there are several revisions, each here at its highest. Under the accounts' lock nobody posts meanwhile.
_REVISE: Final = f"""
    WITH {_LEGS}, posted AS (
        SELECT reference, max(entries.revision) AS highest,
               coalesce(sum(entries.amount) FILTER (WHERE entries.account_id = legs.account_id), 0) AS amount
        FROM ledger_entries AS entries JOIN legs USING (reference)
        GROUP BY reference
    ), inserted AS (
        {_INSERT}
        SELECT reference, account_id, revision, occurred_at, CASE WHEN highest IS NULL THEN 'leg' ELSE 'correction' END,
               contra_account_id, legs.amount - coalesce(posted.amount, 0), billed_seconds, rated_offset
        FROM legs LEFT JOIN posted USING (reference)
        WHERE highest IS NULL OR revision > highest
        RETURNING reference, account_id, amount
    ), known AS (
        INSERT INTO revised_legs SELECT DISTINCT reference FROM inserted ON CONFLICT DO NOTHING
    ), {_MOVED}
    SELECT count(*) FROM inserted
"""  # noqa: S608 - made of constants


class Rejected(NamedTuple):
    """A leg that the ledger cannot post, and why. It belongs among the dead letters."""

    leg: RatedLeg
    reason: str


class Posted(NamedTuple):
    """What became of a batch: entries inserted, legs that needed none (any more), and legs that cannot be posted."""

    inserted: int
    repeated: int
    rejected: list[Rejected]


class Account(NamedTuple):
    """What posting needs to know of an account."""

    kind: str
    currency: str


class Ledger:
    """Posts rated legs over one connection. Not for concurrent use: one worker, one ledger."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """`connection` must be in autocommit mode; the ledger opens its own transactions."""
        self._connection = connection
        self._months: set[tuple[int, int]] = set()
        self._contra: dict[tuple[str, str], int] = {}

    async def post(self, legs: Sequence[RatedLeg], places: Places = _NOWHERE) -> Posted:
        """Post a batch in one transaction. Raises psycopg.Error when the database cannot: nothing is posted then.

        `places`: the offsets of the messages of rated-legs, by leg and revision; kept with the entries.
        """
        if not legs:
            return Posted(0, 0, [])
        await self._prepare(legs)
        # What is released is decided by the inbound legs of the batch: a call's hold goes with its inbound leg.
        ended = sorted({split_leg_id(leg.leg_id)[0] for leg in legs if leg.side == "receivable"})
        async with self._connection.transaction():
            cursor = await self._connection.execute(
                _LOCK, (_array(sorted({leg.account_id for leg in legs})), _text_array(ended))
            )
            accounts = {row[0]: Account(row[1], row[2]) for row in await cursor.fetchall()}
            good, rejected = sort_out(legs, accounts)
            inserted = await self._insert(good, places)
            if ended:
                await self._connection.execute("SELECT release_holds(%s::text[])", (_text_array(ended),))
        return Posted(inserted, len(good) - inserted, rejected)

    async def _insert(self, legs: Sequence[RatedLeg], places: Places) -> int:
        """Entries and balances, under the accounts' lock; how many entries were new."""
        other = {leg.leg_id for leg in legs if leg.revision != ORDINARY_REVISION}
        ordinary = [leg for leg in legs if leg.leg_id not in other] if other else legs
        inserted = 0
        if ordinary:
            cursor = await self._connection.execute(_POST, self._columns(ordinary, places))
            inserted, revised = await cursor.fetchone() or (0, [])
            other.update(revised)
        if other:
            highest: dict[str, RatedLeg] = {}
            for leg in legs:
                known = highest.get(leg.leg_id)
                if leg.leg_id in other and (known is None or known.revision < leg.revision):
                    highest[leg.leg_id] = leg
            cursor = await self._connection.execute(_REVISE, self._columns([*highest.values()], places))
            row = await cursor.fetchone()
            inserted += row[0] if row else 0
        return inserted

    async def _prepare(self, legs: Iterable[RatedLeg]) -> None:
        if not self._contra:
            rows = await self._connection.execute(
                "SELECT split_part(name, ' ', 1), currency, account_id FROM accounts"
                " WHERE kind = 'system' AND name <> 'unidentified'"
            )
            self._contra = {(kind, currency): account_id for kind, currency, account_id in await rows.fetchall()}
        for leg in legs:
            moment = datetime.fromtimestamp(leg.ended.call_started_at_ms // 1000, UTC)
            if (moment.year, moment.month) not in self._months:
                # A transaction of its own: making a partition locks the whole ledger for a moment.
                await self._connection.execute("SELECT ledger_partition(%s)", (moment,))
                self._months.add((moment.year, moment.month))

    def _columns(self, legs: Sequence[RatedLeg], places: Places) -> tuple[str, ...]:
        sign = {"receivable": -1, "payable": 1}
        return (
            _text_array(leg.leg_id for leg in legs),
            _array(leg.account_id for leg in legs),
            _array(leg.revision for leg in legs),
            _array(leg.ended.call_started_at_ms for leg in legs),
            _array(self._contra[_CONTRA_OF_SIDE[leg.side], leg.currency] for leg in legs),
            _array(sign[leg.side] * leg.amount_micros for leg in legs),
            _array(leg.billed_seconds for leg in legs),
            _array(places.get((leg.leg_id, leg.revision), "NULL") for leg in legs),
        )


def sort_out(legs: Iterable[RatedLeg], accounts: Mapping[int, Account]) -> tuple[list[RatedLeg], list[Rejected]]:
    """The legs that can be posted to these accounts, and those that cannot, each with its reason."""
    good: list[RatedLeg] = []
    rejected: list[Rejected] = []
    for leg in legs:
        account = accounts.get(leg.account_id)
        reason = ""
        if account is None:
            reason = f"account_id {leg.account_id}: there is no such account"
        elif leg.account_id == UNIDENTIFIED_ACCOUNT_ID:
            if leg.amount_micros:
                reason = f"amount_micros {leg.amount_micros}: a leg of the unidentified account has no money"
        elif account.kind != _KIND_OF_SIDE[leg.side]:
            reason = f"account_id {leg.account_id}: a {leg.side} leg needs a {_KIND_OF_SIDE[leg.side]} account"
        if account is not None and not reason and account.currency != leg.currency:
            reason = f"currency {leg.currency}: account {leg.account_id} is in {account.currency}"
        if reason:
            rejected.append(Rejected(leg, reason))
        else:
            good.append(leg)
    return good, rejected


def _array(values: Iterable[int | str]) -> str:
    """A PostgreSQL array literal: three times faster to send than a list, measured."""
    return "{" + ",".join(map(str, values)) + "}"


def _text_array(values: Iterable[str]) -> str:
    escaped = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(escaped) + "}"
