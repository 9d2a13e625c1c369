"""Calls for the benches of the line: parties in PostgreSQL, and journal lines as the dialplan writes them.

Half of the calls are answered at the first vendor, others are hunted over up to three, some are refused; each that was
routed has a hold to be released.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

import psycopg

from schemas.facts import Facts, encode_facts
from schemas.journal import encode_line

NODE: Final = "bench1"
EPOCH: Final = 1_795_000_000
CUSTOMERS: Final = 20
VENDORS: Final = 40


class Parties(NamedTuple):
    """Accounts of customers and vendors; a peer's and a company's id is the account's."""

    customers: list[int]
    vendors: list[int]


class Lines(NamedTuple):
    """A call's lines, and how many legs they close."""

    call_id: str
    text: bytes
    legs: int
    account: int  # of the hold; 0: it was refused


def make_parties(dsn: str) -> Parties:
    """Companies, accounts and peers; the ids of all three are the same."""
    customers = list(range(2001, 2001 + CUSTOMERS))
    vendors = list(range(3001, 3001 + VENDORS))
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO billing_packs (pack_id, name, currency) VALUES (1, '1/1', 'USD')")
        connection.execute("INSERT INTO decks (deck_id, name) VALUES (1, 'deck')")
        connection.execute("INSERT INTO route_classes (route_class_id, name) VALUES (1, 'all')")
        connection.execute(
            "INSERT INTO destinations (destination_id, code, country, name, kind)"
            " SELECT n, '99' || n, 'BG', 'Destination ' || n, 'other' FROM generate_series(1, 200) AS n"
        )
        for kind, role, ids in (("customer", "originator", customers), ("vendor", "terminator", vendors)):
            values = (ids,)
            connection.execute(
                f"INSERT INTO companies (company_id, name) SELECT n, '{kind} ' || n FROM unnest(%s::int[]) AS n", values
            )
            connection.execute(
                "INSERT INTO accounts (account_id, name, company_id, kind, currency, payment, credit_limit)"
                f" SELECT n, '{kind} ' || n, n, '{kind}', 'USD', 'postpaid', 1e9 FROM unnest(%s::int[]) AS n",
                values,
            )
            connection.execute(
                "INSERT INTO peers (peer_id, company_id, name, role, endpoint, host, account_id, pack_id, deck_id,"
                f" route_class_id) SELECT n, n, 'peer-' || n, '{role}', 'x-' || n, ('127.1.0.0'::inet + n), n, 1, 1,"
                f" CASE '{role}' WHEN 'originator' THEN 1 END FROM unnest(%s::int[]) AS n",
                values,
            )
    return Parties(customers, vendors)


def make_holds(dsn: str, calls: list[tuple[str, int]]) -> None:
    """A hold of one cent for each (call, account), counted as going on."""
    with psycopg.connect(dsn) as connection:
        columns = "call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, limit_keys"
        with connection.cursor().copy(f"COPY holds ({columns}, admitted_at, expires_at) FROM STDIN") as copy:
            for call_id, account in calls:
                copy.write_row((call_id, NODE, account, account, "0.01", 60, 60, [f"p{account}"], "now", "infinity"))
        connection.execute(
            "UPDATE account_balances SET held = sums.amount FROM (SELECT account_id, sum(amount) AS amount FROM holds"
            " GROUP BY 1) AS sums WHERE sums.account_id = account_balances.account_id"
        )
        connection.execute(
            "INSERT INTO limit_counters (limit_key, concurrent) SELECT 'p' || peer_id, count(*) FROM holds GROUP BY 1"
        )


def make_calls(parties: Parties, seed: int = 1) -> Iterator["_Caller"]:
    """Callers without end: each makes one call's lines when it is told the moment of its end."""
    chosen = random.Random(seed)
    number = 0
    while True:
        number += 1
        yield _Caller(parties, chosen, number)


class _Caller(NamedTuple):
    parties: Parties
    chosen: random.Random
    number: int

    def lines(self, ended_ms: int) -> Lines:
        """The call that ended at this moment."""
        chosen = self.chosen
        customer = chosen.choice(self.parties.customers)
        kind = chosen.random()
        hunted = 0 if kind < 0.1 else 1 if kind < 0.7 else 2 if kind < 0.9 else 3
        answered = hunted > 0 and chosen.random() < 0.6
        talk_ms = chosen.randrange(500, 180_000) if answered else 0
        started_ms = ended_ms - talk_ms - 3_000 * max(1, hunted)
        call_id = f"{NODE}-{EPOCH}-{started_ms // 1000:010d}.{self.number}"
        destination = chosen.randrange(1, 201)
        sold = _facts("receivable", customer, 0, customer, destination, chosen.randrange(10**6, 5 * 10**6))
        parts: list[bytes] = []
        bought = ""
        for leg in range(1, hunted + 1):
            vendor = chosen.choice(self.parties.vendors)
            bought = _facts("payable", customer, vendor, vendor, destination, chosen.randrange(10**6, 4 * 10**6))
            parts += self._leg(call_id, leg, started_ms, leg == hunted and answered, talk_ms, bought, sold)
        parts.append(
            encode_line(
                "CALL_END", _s(ended_ms),
                {
                    "call": call_id, "start": _s(started_ms), "end": _s(ended_ms),
                    "pdd": "1500" if hunted else "", "ansms": str(talk_ms) if answered else "",
                    "status": "ANSWER" if answered else "CONGESTION" if hunted else "",
                    "cause": "16" if answered else "34", "src": "caller" if answered else "us", "legs": str(hunted),
                    "reason": "" if hunted else "NO BALANCE", "caller": "35929990001",
                    "callee": f"99{destination}712345", "endpoint": f"x-{customer}", "addr": "127.1.0.1%3A5060",
                    "facts": sold, "last": bought,
                },
            )
        )  # fmt: skip
        return Lines(call_id, b"".join(parts), hunted + 1, customer if hunted else 0)

    @staticmethod
    def _leg(
        call_id: str, leg: int, begin_ms: int, answered: bool, talk_ms: int, bought: str, sold: str
    ) -> list[bytes]:
        start_ms = begin_ms + 3_000 * (leg - 1)
        answer_ms = start_ms + 3_000
        end_ms = answer_ms + talk_ms if answered else start_ms + 2_900
        common = {"call": call_id, "leg": str(leg)}
        lines = [
            encode_line(
                "LEG_START", _s(start_ms),
                {**common, "at": _s(start_ms), "begin": _s(begin_ms), "facts": bought, "cfacts": sold},
            )
        ]  # fmt: skip
        if answered:
            answers = ({"call": call_id, "leg": of_leg} for of_leg in (str(leg), ""))
            lines += [encode_line("ANSWER", _s(answer_ms), values) for values in answers]
        lines.append(
            encode_line(
                "LEG_RESULT", _s(end_ms),
                {
                    **common, "begin": _s(begin_ms), "start": _s(start_ms), "end": _s(end_ms),
                    "ring": "1500", "prog": "", "ansms": str(talk_ms) if answered else "",
                    "status": "ANSWER" if answered else "CONGESTION", "cause": "16" if answered else "34",
                    "sip": "SIP%20200%20OK" if answered else "SIP%20503%20Service%20Unavailable",
                    "src": "caller" if answered else "callee", "facts": bought,
                },
            )
        )  # fmt: skip
        return lines


def _facts(side: str, customer: int, vendor: int, account: int, destination: int, price_e8: int) -> str:
    return encode_facts(
        Facts(
            side="receivable" if side == "receivable" else "payable", generation=1, customer_company_id=customer,
            customer_peer_id=customer, vendor_company_id=vendor, vendor_peer_id=vendor, account_id=account,
            currency="USD", code=f"99{destination}", price_id=destination, destination_id=destination,
            price_e8=price_e8, connect_fee_micros=0, minimum_seconds=1, increment_seconds=1, free_seconds=0,
            rounding_decimals=6, duration_rounding="up", caller="35929990001", callee=f"99{destination}712345",
        )
    )  # fmt: skip


def _s(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"
