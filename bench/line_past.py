"""Legs that were there before: loaded directly into ledger and CDRs, so that growth is measured against a full house.

They are of a node of their own and spread over the thirty days before; balances are moved with them.
"""

from typing import Final

import psycopg

from bench.figures import say
from bench.line_stack import LineStack
from bench.line_world import NODE, Parties
from runtime.clickhouse import connect
from schemas.events import RatedLeg
from schemas.topics import RATED_LEGS
from sinks.audit.full.sources import read_topic

PAST_NODE: Final = "past1"
_AT_ONCE: Final = 1_000_000
_CDRS_AT_ONCE: Final = 200_000  # a query of the embedded engine has a gigabyte
_DAYS: Final = 30
# Leg n of the past: its call's start, its account (customers and vendors take turns), its amount in micros.
_LEDGER: Final = """
    INSERT INTO ledger_entries
        (reference, account_id, revision, occurred_at, kind, contra_account_id, amount, billed_seconds)
    SELECT '{node}-1795000000-' || lpad(extract(epoch FROM at)::bigint::text, 10, '0') || '.' || n || '/' || mod(n, 2),
           CASE mod(n, 2) WHEN 0 THEN (%(customers)s::int[])[1 + mod(n / 2, %(of_customers)s)]
                          ELSE (%(vendors)s::int[])[1 + mod(n / 2, %(of_vendors)s)] END,
           1, at, 'leg', CASE mod(n, 2) WHEN 0 THEN revenue ELSE cost END,
           CASE mod(n, 2) WHEN 0 THEN -1 ELSE 1 END * mod(n, 1000) * 0.000100, mod(n, 180)
    FROM (SELECT n, now() - make_interval(secs => 3600 + (n::float8 / %(all)s) * %(seconds)s) AS at
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS made,
         (SELECT account_id FROM accounts WHERE name = 'revenue USD') AS r (revenue),
         (SELECT account_id FROM accounts WHERE name = 'cost USD') AS c (cost)
"""
_CDRS: Final = """
    INSERT INTO legs
        (start_time, call_start_time, end_time, call_id, leg, leg_id, revision, node, side, customer_company_id,
         customer, vendor_company_id, vendor, account_id, caller, callee, destination, country, code, currency,
         answered, duration_ms, billed_seconds, amount, cause, dial_status, release_side)
    SELECT at, at, at + toIntervalSecond(n % 180),
           concat('{node}-1795000000-', toString(toUnixTimestamp(at)), '.', toString(n)) AS id,
           n % 2, concat(id, '/', toString(n % 2)), 1, '{node}', if(n % 2 = 0, 'receivable', 'payable'),
           2001 + n % 20, concat('customer ', toString(2001 + n % 20)),
           3001 + n % 40, concat('vendor ', toString(3001 + n % 40)), if(n % 2 = 0, 2001 + n % 20, 3001 + n % 40),
           '35929990001', concat('99', toString(n % 10000000)), concat('Destination ', toString(n % 200)), 'BG',
           toString(n % 200), 'USD', n % 3 > 0, n % 180 * 1000, n % 180, (n % 1000) * toDecimal64('0.0001', 6), 16,
           'ANSWER', 'caller'
    FROM (SELECT number AS n, now64(3) - toIntervalSecond(3600 + intDiv(number * {seconds}, {all})) AS at
          FROM numbers({first}, {count}))
    SETTINGS max_partitions_per_insert_block = 0
"""
_POSTED: Final = """
    SELECT count(DISTINCT reference), (-sum(amount) FILTER (WHERE amount < 0) * 1000000)::bigint,
           (sum(amount) FILTER (WHERE amount > 0) * 1000000)::bigint
    FROM ledger_entries WHERE reference LIKE %s
"""
_UNBALANCED: Final = """
    SELECT count(*) FROM account_balances
    LEFT JOIN (SELECT account_id, sum(amount) AS entries FROM ledger_entries GROUP BY 1) AS sums USING (account_id)
    WHERE balance <> coalesce(entries, 0)
"""
_WRITTEN: Final = """
    SELECT count(), toInt64(toDecimal128(sumIf(amount, side = 'receivable'), 6) * 1000000),
           toInt64(toDecimal128(sumIf(amount, side = 'payable'), 6) * 1000000)
    FROM legs FINAL WHERE node = {node:String}
"""
_PARTITIONS: Final = "SELECT ledger_partition(now() - make_interval(days => d)) FROM generate_series(0, 31, 5) AS d"


def load_past(stack: LineStack, parties: Parties, legs: int) -> None:
    """So many legs of the past, in both stores."""
    seconds = _DAYS * 86_400
    with (
        psycopg.connect(stack.dsn, autocommit=True) as connection,
        connect(stack.clickhouse, answer_seconds=600) as client,
    ):
        connection.execute(_PARTITIONS)
        for first in range(0, legs, _AT_ONCE):
            count = min(_AT_ONCE, legs - first)
            connection.execute(
                _LEDGER.format(node=PAST_NODE).encode(),
                {
                    "customers": parties.customers, "of_customers": len(parties.customers),
                    "vendors": parties.vendors, "of_vendors": len(parties.vendors),
                    "first": first, "last": first + count - 1, "all": legs, "seconds": seconds,
                },
            )  # fmt: skip
            for part in range(first, first + count, _CDRS_AT_ONCE):
                some = min(_CDRS_AT_ONCE, first + count - part)
                client.command(_CDRS.format(node=PAST_NODE, seconds=seconds, all=legs, first=part, count=some))
            say(f"{first + count:,} legs of the past loaded")
        connection.execute(
            "UPDATE account_balances SET balance = entries FROM (SELECT account_id, sum(amount) AS entries"
            " FROM ledger_entries GROUP BY 1) AS sums WHERE sums.account_id = account_balances.account_id"
        )
        connection.execute("VACUUM ANALYZE ledger_entries")


def is_equal(stack: LineStack, legs: int) -> bool:
    """Whether the new legs are equal in number and money, by side, in topic, ledger and CDRs; and every balance is."""
    rated: dict[str, int] = {}
    sums = {"receivable": 0, "payable": 0}
    for leg in read_topic(stack.kafka, RATED_LEGS):
        if isinstance(leg, RatedLeg) and leg.leg_id not in rated:
            rated[leg.leg_id] = leg.amount_micros
            sums[leg.side] += leg.amount_micros
    with psycopg.connect(stack.dsn) as connection:
        posted = connection.execute(_POSTED, (f"{NODE}-%",)).fetchone()
        wrong = connection.execute(_UNBALANCED).fetchone()
    with connect(stack.clickhouse) as client:
        written = client.query(_WRITTEN, parameters={"node": NODE}).result_rows[0]
    expected = (legs, sums["receivable"], sums["payable"])
    return len(rated) == legs and posted == expected and tuple(written) == expected and wrong == (0,)
