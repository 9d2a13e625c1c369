"""What the audit reads in PostgreSQL: the ledger's legs, balances and holds, and what of it lies behind a seal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import psycopg

from runtime.connections import Postgres
from schemas.frame import partition_of
from schemas.topics import DEFAULT_PARTITIONS
from sinks.audit.continuous.open_calls import read_heard, read_holds
from sinks.audit.continuous.store import ms_of
from sinks.audit.full.calls import Open
from sinks.audit.full.range import Manifests, SealedLeg, account_ends, read_manifests

_LEGS: Final = """
    SELECT reference, CASE split_part(contra.name, ' ', 1) WHEN 'revenue' THEN 'receivable' ELSE 'payable' END,
           contra.currency, entries.account_id, (abs(sum(amount)) * 1000000)::bigint, max(revision),
           bool_or(before_offset IS NOT NULL AND (rated_offset IS NULL OR rated_offset < before_offset)),
           bool_or(entries.kind = 'leg' AND rated_offset IS NOT NULL),
           bool_or(entries.kind = 'leg' AND (rated_offset IS NULL OR rated_offset < before_offset)),
           (sum(CASE split_part(contra.name, ' ', 1) WHEN 'revenue' THEN -amount ELSE amount END)
                FILTER (WHERE rated_offset IS NULL OR rated_offset < before_offset) * 1000000)::bigint
    FROM ledger_entries AS entries JOIN accounts AS contra ON contra.account_id = contra_account_id
    LEFT JOIN unnest(%s::int[], %s::bigint[]) AS sealed (account_id, before_offset)
        ON sealed.account_id = entries.account_id
    WHERE entries.kind = 'leg' OR (entries.kind = 'correction' AND contra.name ~ '^(revenue|cost) ')
    GROUP BY 1, 2, 3, 4
"""
_REPEATED: Final = """
    SELECT reference, max(times) FROM (
        SELECT reference, count(*) AS times FROM ledger_entries WHERE kind = 'leg' GROUP BY reference
        UNION ALL
        SELECT reference, count(*) FROM ledger_entries WHERE kind = 'correction' GROUP BY reference, revision
    ) AS counted WHERE times > 1 GROUP BY reference
"""
_BALANCES: Final = """
    SELECT account_id, (balance * 1000000)::bigint, (coalesce(entries, 0) * 1000000)::bigint,
           (held * 1000000)::bigint, (coalesce(holds, 0) * 1000000)::bigint
    FROM account_balances
    LEFT JOIN (SELECT account_id, sum(amount) AS entries FROM ledger_entries GROUP BY 1) AS e USING (account_id)
    LEFT JOIN (SELECT account_id, sum(amount) AS holds FROM holds GROUP BY 1) AS h USING (account_id)
"""
_LEG_SUMS_BY_BALANCE: Final = """
    SELECT currency, side, (sum(sign * (balance - coalesce(other, 0))) * 1000000)::bigint
    FROM account_balances
    JOIN (SELECT account_id, currency, CASE kind WHEN 'vendor' THEN 'payable' ELSE 'receivable' END AS side,
                 CASE kind WHEN 'vendor' THEN 1 ELSE -1 END AS sign
          FROM accounts WHERE kind <> 'system') AS parties USING (account_id)
    LEFT JOIN (SELECT ledger_entries.account_id, sum(amount) AS other
               FROM ledger_entries JOIN accounts AS contra ON contra.account_id = contra_account_id
               WHERE ledger_entries.kind <> 'leg' AND contra.name !~ '^(revenue|cost) ' GROUP BY 1) AS o
        USING (account_id)
    GROUP BY 1, 2
"""
_HOLDS_OF_ENDED: Final = "SELECT call_id FROM holds JOIN ledger_entries ON reference = call_id || '/0'"


class Money(NamedTuple):
    """What a store says of one leg's money."""

    side: str
    currency: str
    account_id: int
    amount_micros: int


@dataclass(frozen=True)
class Ledger:
    """PostgreSQL's account."""

    legs: Mapping[str, Money]
    repeated_legs: Mapping[str, int]  # billed more often than once, or corrected so at one revision
    balances: Mapping[int, tuple[int, int]]  # account: (balance, Σ entries), micros
    held: Mapping[int, tuple[int, int]]  # account: (held, Σ holds), micros
    leg_sums_by_balance: Mapping[tuple[str, str], int]  # (currency, side): Σ balances − payments − corrections
    holds_open: int
    holds_of_ended_calls: Sequence[str]
    sealed: Sequence[SealedLeg] = ()  # what was rated before the first retained message
    estimated: frozenset[str] = frozenset()  # legs of those that were closed by estimate, and by nothing since
    manifests: Manifests = field(default_factory=Manifests)  # of the same moment
    opened: Open = field(default_factory=Open)


def read_ledger(postgres: Postgres, partitions: int = DEFAULT_PARTITIONS) -> Ledger:
    """Entries, balances, holds and manifests of topics, in one snapshot of the database."""
    with psycopg.connect(postgres.dsn.get_secret_value(), connect_timeout=5) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        manifests = read_manifests(connection)
        accounts = [account for (account,) in connection.execute("SELECT account_id FROM accounts").fetchall()]
        legs: dict[str, Money] = {}
        sealed: list[SealedLeg] = []
        estimated: set[str] = set()
        revisions: dict[str, int] = {}  # but for the usual one
        with connection.cursor(name="audit_legs") as cursor:
            cursor.itersize = 50_000
            cursor.execute(_LEGS, account_ends(accounts, manifests, partitions))
            for reference, side, currency, account, micros, revision, behind, *of_sealed in cursor:
                # An estimate may be on another account than the true end: the highest revision's is the leg's.
                if revision > revisions.get(reference, 1 if reference in legs else -1):
                    legs[reference] = Money(side, currency, account, micros)
                    if revision != 1:
                        revisions[reference] = revision
                    else:
                        revisions.pop(reference, None)
                if behind:
                    place = partition_of(str(account), partitions)
                    sealed.append(SealedLeg(reference, place, (currency, side), *of_sealed))
                    if revision == 0:
                        estimated.add(reference)
        rows = connection.execute
        repeated: dict[str, int] = dict(rows(_REPEATED).fetchall())
        balances = rows(_BALANCES).fetchall()
        by_balance = rows(_LEG_SUMS_BY_BALANCE).fetchall()
        ended = rows(_HOLDS_OF_ENDED).fetchall()
        (now,) = rows("SELECT clock_timestamp()").fetchall()
        opened = Open(read_holds(connection), read_heard(connection), ms_of(now[0]))
    return Ledger(
        legs=legs,
        repeated_legs=repeated,
        balances={row[0]: (row[1], row[2]) for row in balances},
        held={row[0]: (row[3], row[4]) for row in balances},
        leg_sums_by_balance={(row[0], row[1]): row[2] for row in by_balance if row[2]},
        holds_open=len(opened.holds),
        holds_of_ended_calls=[row[0] for row in ended],
        sealed=sealed,
        estimated=frozenset(leg_id for leg_id in estimated if revisions.get(leg_id) == 0),
        manifests=manifests,
        opened=opened,
    )
