"""Random steps for the model of PostgreSQL and the real one, and the rows of both to be compared.

The steps are the product's own functions, once over the model's connections and once over psycopg's.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from agent import counters
from schemas import events
from schemas.events import CallEnded, DeadLetter, LegEnded, RatedLeg, decode_event
from schemas.facts import Facts
from schemas.money import micros_from_decimal
from sinks import holds
from sinks.dead_letters import store as letter_store
from sinks.holds import CallLimit, Hold, Terms, Unheld
from sinks.ledger import Ledger
from sinks.node_calls import list_calls
from sinks.payments import PaymentError, post_payment
from streams.folds.rating import rate_leg
from tests.simulation import tables as model
from tests.simulation.clock import Host, run_now
from tests.simulation.database import AsyncConnection, Database
from tests.simulation.statements import ms

EXAMPLES = Path(events.__file__).parent / "examples"
# Ahead of the real server's clock: none of the holds may expire by themselves while the steps are taken.
START_S = int(time.time()) + 3_600
NODES = ("ast1", "ast2")
PEERS = (1, 2, 3)
CUSTOMERS = (2001, 2002, 2003)
VENDOR = 2004
CODES = {2: ("4", "447"), 3: ("1",)}  # of limits


class Real:
    """The real server's side."""

    def __init__(self, dsn: str, loop: asyncio.AbstractEventLoop) -> None:
        self.sync = psycopg.connect(dsn, autocommit=True)
        self.loop = loop
        self.later: Any = loop.run_until_complete(psycopg.AsyncConnection.connect(dsn, autocommit=True))
        self.ledger = Ledger(self.later)

    def wait(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.loop.run_until_complete(self.later.close())
        self.sync.close()


class Model:
    """The model's side."""

    def __init__(self) -> None:
        self.database = Database(Host(), lambda: time.time_ns() // 1_000_000)
        self.sync: Any = self.database.connect_now()
        self.later: Any = AsyncConnection(self.database.connect_now())
        self.ledger = Ledger(self.later)

    def wait(self, coroutine: Any) -> Any:
        return run_now(coroutine)


Side = Real | Model


def fill(real: Real, made: Model) -> None:
    """Accounts and peers in both."""
    execute = real.sync.execute
    execute("SET synchronous_commit = off")
    for number in (*CUSTOMERS, VENDOR):
        execute("INSERT INTO companies (company_id, name) VALUES (%s, %s)", (number, f"company {number}"))
    kinds = {2001: ("prepaid", 0, True), 2002: ("postpaid", 3, True), 2003: ("postpaid", 0, False)}
    for number in CUSTOMERS:
        payment, credit, hold = kinds[number]
        execute(
            "INSERT INTO accounts (account_id, name, company_id, kind, currency, payment, credit_limit, hold)"
            " VALUES (%s, %s, %s, 'customer', 'USD', %s, %s, %s)",
            (number, f"c{number}", number, payment, credit, hold),
        )
    execute(
        "INSERT INTO accounts (account_id, name, company_id, kind, currency, payment)"
        " VALUES (2004, 'vendor', 2004, 'vendor', 'USD', 'postpaid')"
    )
    execute("INSERT INTO billing_packs (pack_id, name, currency) VALUES (1, '1/1', 'USD')")
    execute("INSERT INTO decks (deck_id, name) VALUES (1, 'deck')")
    execute("INSERT INTO route_classes (route_class_id, name) VALUES (1, 'all')")
    for peer_id, account_id in zip(PEERS, CUSTOMERS, strict=True):
        execute(
            "INSERT INTO peers (peer_id, company_id, name, role, endpoint, host, account_id, pack_id, deck_id,"
            " route_class_id, max_call_seconds) VALUES (%s, %s, %s, 'originator', %s, %s, %s, 1, 1, 1, 60)",
            (peer_id, account_id, f"p{peer_id}", f"c-p{peer_id}", f"127.0.0.{peer_id}", account_id),
        )
    rows = made.database.tables
    for account_id, name, kind, currency, payment, credit, hold in execute(
        "SELECT account_id, name, kind, currency, payment, credit_limit, hold FROM accounts"
    ).fetchall():
        account = model.Account(name, kind, currency, payment == "prepaid", micros_from_decimal(credit), hold)
        rows.open_account(account_id, account)
    rows.peers = dict.fromkeys(PEERS, 60)
    for peer_id, codes in CODES.items():
        for code in codes:
            execute("INSERT INTO code_limits VALUES (%s, %s, 1, 0)", (peer_id, code))
    rows.code_limits = dict(CODES)


def rows_of_real(real: Real) -> dict[str, Any]:
    execute = real.sync.execute
    micros = micros_from_decimal
    return {
        "balances": {
            row[0]: (micros(row[1]), micros(row[2]))
            for row in execute("SELECT account_id, balance, held FROM account_balances").fetchall()
        },
        "entries": {
            (row[0], row[1], row[2], ms(row[3])): (row[4], row[5], micros(row[6]), row[7])
            for row in execute(
                "SELECT reference, account_id, revision, occurred_at, kind, contra_account_id, amount, billed_seconds"
                " FROM ledger_entries"
            ).fetchall()
        },
        "revised": {row[0] for row in execute("SELECT leg_id FROM revised_legs").fetchall()},
        "holds": {
            row[0]: (
                *row[1:4],
                micros(row[4]),
                row[5],
                int(row[6].scaleb(8)),
                micros(row[7]),
                ms(row[8]),
                row[9],
                tuple(row[10]),
            )
            for row in execute(
                "SELECT call_id, node, peer_id, account_id, amount, covered_seconds, price, connect_fee, admitted_at,"
                " counted, limit_keys FROM holds"
            ).fetchall()
        },
        "counters": {
            row[0]: row[1:]
            for row in execute("SELECT limit_key, concurrent, second, in_second FROM limit_counters").fetchall()
        },
        "swept": sorted(
            (row[0], row[1], micros(row[2]), row[3])
            for row in execute("SELECT call_id, account_id, amount, why FROM swept_holds").fetchall()
        ),
        "letters": {
            row[0]: row[1:]
            for row in execute("SELECT origin, source, raw, state, replays, replay_of FROM dead_letters").fetchall()
        },
        "nodes": dict(execute("SELECT name, agent_id FROM nodes").fetchall()),
        "listed": {row[0]: set(row[1]) for row in execute("SELECT node, calls FROM node_calls").fetchall()},
    }


def rows_of_model(made: Model) -> dict[str, Any]:
    rows = made.database.tables
    return {
        "balances": {number: (rows.balance[number], rows.held[number]) for number in rows.balance},
        "entries": {key: tuple(entry) for key, entry in rows.entries.items()},
        "revised": set(rows.revised),
        "holds": {
            call_id: (*hold[:5], hold.price_e8, hold.fee_micros, hold.admitted_ms, hold.counted, hold.limit_keys)
            for call_id, hold in rows.holds.items()
        },
        "counters": {peer: tuple(counter) for peer, counter in rows.counters.items()},
        "swept": sorted((call_id, *row) for (call_id, _), row in rows.swept.items()),
        "letters": {
            origin: (one.source, one.raw, one.state, one.replays, one.replay_of) for origin, one in rows.letters.items()
        },
        "nodes": {name: node.agent_id for name, node in rows.nodes.items()},
        "listed": {name: set(calls) for name, (_, calls) in rows.node_calls.items()},
    }


class Steps:
    """Random steps: each is made once and taken on both sides; what comes out must be the same."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.dice_of_codes = random.Random(seed)
        self.calls = [f"{self.dice.choice(NODES)}-{START_S}-{START_S + seed * 50 + n}.{n}" for n in range(8)]
        self.customer = {call: self.dice.randrange(3) for call in self.calls}

    def some(self) -> list[str]:
        return self.dice.sample(self.calls, self.dice.randint(1, 5))

    def facts(self, call: str, *, payable: bool) -> Facts:
        which = self.customer[call]
        name = "leg_ended" if payable else "call_ended"
        example: Any = decode_event((EXAMPLES / f"{name}.json").read_bytes())
        dice = random.Random(call)
        minimum, increment = dice.choice(((1, 1), (30, 6), (60, 60), (0, 1)))
        return msgspec.structs.replace(
            example.facts, account_id=VENDOR if payable else CUSTOMERS[which], currency="USD",
            customer_peer_id=PEERS[which], price_e8=dice.choice((0, 6_000_000, 100_000_001, 900_000_000)),
            connect_fee_micros=dice.choice((0, 1_000)), minimum_seconds=minimum, increment_seconds=increment,
            free_seconds=0, rounding_decimals=dice.choice((2, 4, 6)),
        )  # fmt: skip

    def leg(self) -> RatedLeg:
        call, dice = self.dice.choice(self.calls), self.dice
        number = dice.choice((0, 0, 1, 2))
        ended: Any = decode_event((EXAMPLES / f"{'leg_ended' if number else 'call_ended'}.json").read_bytes())
        assert isinstance(ended, LegEnded | CallEnded)
        started_ms = int(call.split("-")[2].split(".")[0]) * 1000
        estimated = dice.random() < 0.3
        changes = {"leg": number} if number else {"legs": 0, "last_facts": None}
        leg_id = f"{call}/{number}"
        kind = ("leg" if number else "call") + ("_estimated" if estimated else "_ended")
        ended = msgspec.structs.replace(
            ended, call_id=call, call_started_at_ms=started_ms, started_at_ms=started_ms,
            answered_at_ms=started_ms, ended_at_ms=started_ms + 200_000, event_id=f"{leg_id}:{kind}",
            duration_ms=dice.choice((1_000, 61_000)) if estimated else random.Random(leg_id).randint(0, 200_000),
            facts=self.facts(call, payable=bool(number)), estimated=estimated, **changes,
        )  # fmt: skip
        leg = rate_leg(ended)
        if dice.random() < 0.1:
            return msgspec.structs.replace(leg, account_id=dice.choice((999, VENDOR, CUSTOMERS[0])))
        if dice.random() < 0.1:
            return msgspec.structs.replace(leg, revision=2, amount_micros=leg.amount_micros + 17)
        return leg

    def make(self) -> tuple[str, Callable[[Side], Any]]:
        kind = self.dice.choice(
            ("post", "post", "post", "admit", "admit", "admit", "extend", "uncount", "missing", "place", "sweep", "ask",
             "claim", "letters", "decide", "pay")
        )  # fmt: skip
        return kind, getattr(self, f"_{kind}")()

    def _post(self) -> Callable[[Side], Any]:
        legs = [self.leg() for _ in range(self.dice.randint(1, 6))]
        legs += self.dice.sample(legs, self.dice.randint(0, len(legs)))
        return lambda side: side.wait(side.ledger.post(legs))

    def _admit(self) -> Callable[[Side], Any]:
        call, dice = self.dice.choice(self.calls), self.dice
        facts, started_ms = self.facts(call, payable=False), int(call.split("-")[2].split(".")[0]) * 1000
        terms: Terms = holds.terms_of(facts)
        hold = Hold(
            call, call.split("-")[0], facts.customer_peer_id, dice.choice((facts.account_id, facts.account_id, 999)),
            holds.seconds_to_hold(facts, 30), holds.seconds_to_hold(facts, 1), 30, terms,
            self._limits(facts.customer_peer_id), started_ms, dice.choice((1_000, started_ms + 10**10)),
        )  # fmt: skip
        return lambda side: side.wait(holds.admit(side.later, hold))

    def _limits(self, peer_id: int) -> tuple[CallLimit, ...]:
        dice = self.dice
        limits = [CallLimit(f"p{peer_id}", dice.choice((0, 1, 3)), dice.choice((0, 0, 2)))]
        own = self.dice_of_codes
        if own.random() < 0.5:
            key = f"c{peer_id}-{own.choice(('44', '447'))}"
            limits.insert(0, CallLimit(key, own.choice((0, 1, 2)), own.choice((0, 0, 1))))
        return tuple(limits)

    def _extend(self) -> Callable[[Side], Any]:
        talk = {call: self.dice.randint(0, 400) for call in self.some()}
        return lambda side: holds.extend(side.sync, talk, 20)

    def _uncount(self) -> Callable[[Side], Any]:
        calls = self.some()
        return lambda side: holds.uncount(side.sync, calls)

    def _missing(self) -> Callable[[Side], Any]:
        live, node = self.some(), self.dice.choice(NODES)
        before_ms = (START_S + self.dice.randint(0, 700)) * 1000

        def missing(side: Side) -> int:
            list_calls(side.sync, node, live)
            return holds.uncount_missing(side.sync, node, live, before_ms)

        return missing

    def _place(self) -> Callable[[Side], Any]:
        calls = [Unheld(call, self.facts(call, payable=False), self.dice.randint(0, 90)) for call in self.some()]
        return lambda side: holds.place(side.sync, "ast1", calls, 30, 20)

    def _sweep(self) -> Callable[[Side], Any]:
        live, never, node = self.some(), self.some(), self.dice.choice(NODES)
        before_ms = (START_S + self.dice.choice((0, 10**6))) * 1000
        return lambda side: sorted(holds.sweep(side.sync, node, "agent", live, never, before_ms))

    def _ask(self) -> Callable[[Side], Any]:
        calls, seconds = self.some(), self.dice.choice((-1_000, 1_000))
        return lambda side: (
            holds.without_hold(side.sync, calls),
            sorted(holds.long_gone(side.sync, "ast1", seconds, 100)),
        )

    def _claim(self) -> Callable[[Side], Any]:
        given = {"node": self.dice.choice(NODES), "agent": self.dice.choice("ab"), "epoch": 1, "silent": 15}
        return lambda side: side.sync.execute(counters._CLAIM, given).rowcount

    def _letters(self) -> Callable[[Side], Any]:
        letters = [
            DeadLetter(
                event_id="x", origin=f"calls/0/{self.dice.randint(0, 9)}/0", reason="x", at_ms=START_S * 1000,
                raw_base64=self.dice.choice(("AAAA", "BBBB")), leg_id="",
            )
            for _ in range(3)
        ]  # fmt: skip
        letters = list({letter.origin: letter for letter in letters}.values())
        return lambda side: sorted(side.wait(letter_store.keep_letters(side.later, letters)))

    def _decide(self) -> Callable[[Side], Any]:
        origin, state = f"calls/0/{self.dice.randint(0, 9)}/0", self.dice.choice(("replayed", "discarded"))

        def decide(side: Side) -> Any:
            try:
                letter = letter_store.find_letter(side.sync, origin)
            except letter_store.LetterError as error:
                return str(error)
            if state == "replayed":
                letter_store.count_replay(side.sync, origin)
            letter_store.decide(side.sync, letter, state, "me", "so")
            return letter.state, letter_store.open_origins(side.sync, 3)

        return decide

    def _pay(self) -> Callable[[Side], Any]:
        account, reference = self.dice.choice(("c2001", "c2001", "vendor", "nobody")), f"p{self.dice.randint(0, 99)}"
        micros, at = self.dice.choice((1, 5_000_000, -7)), datetime(2026, 11, 25, tzinfo=UTC)

        def pay(side: Side) -> Any:
            try:
                with side.sync.transaction():
                    return post_payment(side.sync, account, micros, "paid", reference, at + timedelta(seconds=1))
            except PaymentError as error:
                return str(error)

        return pay
