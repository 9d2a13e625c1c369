"""Holds against a slow oracle: any steps in any order, each repeated at will, on the real PostgreSQL.

The oracle keeps plain dictionaries and works out money with the rating function alone. After every step the database
says the same: each hold, what each account has held, and how many calls each peer has up.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from small_world import SmallWorld, make_small_world

from schemas.events import CallEnded
from schemas.facts import Facts
from sinks.holds import CallLimit, Hold, Outcome, Terms, Unheld, admit, extend, place, sweep, uncount
from sinks.ledger import Ledger
from streams.folds.rating import rate_leg
from tariffs.rating import billed_seconds, rate

pytestmark = pytest.mark.servers
# Ahead of the server's clock: no hold expires by itself meanwhile.
START_MS: Final = (int(time.time()) + 3_600) * 1_000
FAR_MS: Final = START_MS + 10**10
QUANTUM: Final = 30
MARGIN: Final = 20
CALLS: Final = st.integers(0, 5)
SOME_CALLS: Final = st.lists(CALLS, min_size=1, max_size=6)


@dataclass
class Held:
    """A hold as the oracle knows it."""

    covered: int
    amount: int
    is_counted: bool
    has_expired: bool


class Oracle:
    """One account, one peer, one pack; money in micros."""

    def __init__(self, facts: Facts, balance: int, by_money: bool, limit: int) -> None:
        self.facts, self.balance, self.by_money, self.limit = facts, balance, by_money, limit
        self.holds: dict[int, Held] = {}
        self.billed: set[int] = set()

    @property
    def free(self) -> int:
        return self.balance - sum(hold.amount for hold in self.holds.values())

    @property
    def concurrent(self) -> int:
        return sum(hold.is_counted for hold in self.holds.values())

    def cost(self, seconds: int) -> int:
        """Of billed seconds that are on the pack's steps."""
        return rate(self.facts, seconds * 1000, True).amount_micros if seconds else self.facts.connect_fee_micros

    def on_step(self, seconds: int) -> int:
        return billed_seconds(seconds, self.facts.minimum_seconds, self.facts.increment_seconds, 0)

    def most(self, budget: int, at_least: int, at_most: int) -> int:
        """The longest step up to `at_most` that the budget buys; `at_least` if it buys no longer one. One by one."""
        found = at_least
        step = self.on_step(max(1, at_least))
        while step <= at_most:
            if self.cost(step) <= budget:
                found = step
            step = self.on_step(step + 1)
        return found

    def admit(self, call: int, has_expired: bool) -> Outcome:
        if call in self.holds:
            return Outcome.REPEATED
        if call in self.billed:
            return Outcome.ENDED
        covered = self.on_step(60) if self.by_money else 86_400
        if self.by_money and self.cost(covered) > self.free:
            covered = self.most(self.free, 0, covered)
            if covered < self.on_step(1):
                return Outcome.NO_BALANCE
        if self.concurrent >= self.limit:
            return Outcome.LIMIT
        self.holds[call] = Held(covered, self.cost(covered) if self.by_money else 0, True, has_expired)
        return Outcome.ADMITTED

    def extend(self, talk: dict[int, int]) -> dict[int, int]:
        unpaid = {}
        for call in sorted(talk):
            hold = self.holds.get(call)
            if hold is None or talk[call] + MARGIN <= hold.covered:
                continue
            wanted = hold.covered
            while wanted < talk[call] + MARGIN:
                wanted += QUANTUM
            wanted = self.on_step(wanted)
            if self.cost(wanted) - hold.amount > self.free:
                wanted = self.most(hold.amount + self.free, hold.covered, wanted)
            if wanted > hold.covered:
                hold.covered, hold.amount = wanted, self.cost(wanted)
            if hold.covered < talk[call] + MARGIN:
                unpaid[call] = hold.covered
        return unpaid

    def place(self, calls: dict[int, int]) -> list[int]:
        placed = []
        for call in sorted(calls):
            if call not in self.holds and call not in self.billed:
                covered = self.on_step(max(QUANTUM, calls[call] + MARGIN)) if self.by_money else 86_400
                self.holds[call] = Held(covered, self.cost(covered) if self.by_money else 0, True, False)
                placed.append(call)
        return placed

    def sweep(self, live: set[int], never_ended: set[int]) -> set[int]:
        dead = {
            call
            for call, hold in self.holds.items()
            if call not in live and (hold.has_expired or (call in never_ended and not hold.is_counted))
        }
        for call in dead:
            del self.holds[call]
        for call in live & self.holds.keys():
            self.holds[call].has_expired = False
        return dead


def call_id_of(call: int) -> str:
    return f"ast1-1795609861-{START_MS // 1_000}.{call + 1}"


class Machine(RuleBasedStateMachine):
    """The steps. `dsn` and `loop` are the test's own."""

    dsn: str
    loop: asyncio.AbstractEventLoop
    world: SmallWorld
    connection: psycopg.Connection[Any]
    asynchronous: psycopg.AsyncConnection[Any]

    @initialize(
        balance=st.integers(0, 400_000),
        by_money=st.sampled_from([True, True, True, False]),
        limit=st.integers(1, 6),
        price_e8=st.sampled_from([0, 1, 6_000_000, 6_000_001, 1_234_567]),
        fee=st.sampled_from([0, 1_000]),
        steps=st.sampled_from([(0, 1), (1, 1), (30, 6), (60, 60)]),
        decimals=st.sampled_from([6, 6, 4, 2]),
    )
    def begin(
        self, balance: int, by_money: bool, limit: int, price_e8: int, fee: int, steps: tuple[int, int], decimals: int
    ) -> None:
        execute = self.connection.execute
        execute("DELETE FROM holds")
        execute("DELETE FROM limit_counters")
        execute("DELETE FROM swept_holds")
        execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
        execute("DELETE FROM ledger_entries")
        execute("ALTER TABLE ledger_entries ENABLE TRIGGER USER")
        execute("UPDATE account_balances SET held = 0, balance = %s * 0.000001", (balance,))
        execute("UPDATE accounts SET hold = %s WHERE account_id = %s", (by_money, self.world.customer_account))
        facts = Facts(
            side="receivable", generation=1, customer_company_id=1, customer_peer_id=self.world.originator,
            vendor_company_id=0, vendor_peer_id=0, account_id=self.world.customer_account, currency="USD", code="44",
            price_id=1, destination_id=0, price_e8=price_e8, connect_fee_micros=fee, minimum_seconds=steps[0],
            increment_seconds=steps[1], free_seconds=0, rounding_decimals=decimals, duration_rounding="up", caller="",
            callee="447700900123",
        )  # fmt: skip
        self.oracle = Oracle(facts, balance, by_money, limit)

    @rule(call=CALLS, has_expired=st.booleans(), times=st.integers(1, 2))
    def admit(self, call: int, has_expired: bool, times: int) -> None:
        facts = self.oracle.facts
        hold = Hold(
            call_id_of(call), "ast1", self.world.originator, self.world.customer_account, self.oracle.on_step(60),
            self.oracle.on_step(1), QUANTUM,
            Terms(facts.price_e8, facts.connect_fee_micros, facts.minimum_seconds, facts.increment_seconds,
                  facts.rounding_decimals),
            (CallLimit(f"p{self.world.originator}", self.oracle.limit, 0),), START_MS, 1_000 if has_expired else FAR_MS,
        )  # fmt: skip
        wanted = self.oracle.admit(call, has_expired)
        answer = self.loop.run_until_complete(admit(self.asynchronous, hold))
        assert answer.outcome is wanted
        if wanted is Outcome.ADMITTED and self.oracle.by_money:
            held = self.oracle.holds[call]
            assert (answer.free_micros, answer.held_micros) == (self.oracle.free + held.amount, held.amount)
        again = Outcome.REPEATED if wanted is Outcome.ADMITTED else wanted
        for _ in range(times - 1):
            assert self.loop.run_until_complete(admit(self.asynchronous, hold)).outcome is again

    @rule(talk=st.dictionaries(CALLS, st.integers(0, 300), min_size=1), times=st.integers(1, 2))
    def extend(self, talk: dict[int, int], times: int) -> None:
        wanted = {call_id_of(call): until for call, until in self.oracle.extend(talk).items()}
        for _ in range(times):
            assert (
                extend(self.connection, {call_id_of(call): seconds for call, seconds in talk.items()}, MARGIN) == wanted
            )

    @rule(calls=SOME_CALLS)
    def uncount(self, calls: list[int]) -> None:
        held = {call for call in calls if call in self.oracle.holds and self.oracle.holds[call].is_counted}
        assert uncount(self.connection, [call_id_of(call) for call in calls]) == len(held)
        for call in held:
            self.oracle.holds[call].is_counted = False

    @rule(talk=st.dictionaries(CALLS, st.integers(0, 300), min_size=1), times=st.integers(1, 2))
    def place(self, talk: dict[int, int], times: int) -> None:
        calls = [Unheld(call_id_of(call), self.oracle.facts, seconds) for call, seconds in talk.items()]
        placed = place(self.connection, "ast1", calls, QUANTUM, MARGIN)
        assert placed == [call_id_of(call) for call in self.oracle.place(talk)]
        for _ in range(times - 1):
            assert place(self.connection, "ast1", calls, QUANTUM, MARGIN) == []

    @rule(live=st.sets(CALLS), never_ended=st.sets(CALLS), times=st.integers(1, 2))
    def sweep(self, live: set[int], never_ended: set[int], times: int) -> None:
        wanted = {call_id_of(call) for call in self.oracle.sweep(live, never_ended)}
        for _ in range(times):
            lists = [call_id_of(call) for call in live], [call_id_of(call) for call in never_ended]
            swept = sweep(self.connection, "ast1", "agent", *lists, FAR_MS)
            assert {one.call_id for one in swept} == wanted
            wanted = set()

    @rule(call=CALLS, talk_ms=st.integers(0, 300_000), times=st.integers(1, 2))
    def bill(self, call: int, talk_ms: int, times: int) -> None:
        if call in self.oracle.billed:
            return
        call_id = call_id_of(call)
        leg = rate_leg(
            CallEnded(
                event_id=f"{call_id}/0:call_ended", call_id=call_id, call_started_at_ms=START_MS,
                started_at_ms=START_MS, answered_at_ms=START_MS, ended_at_ms=START_MS + talk_ms, duration_ms=talk_ms,
                asterisk_duration_ms=talk_ms, clock_disagreement=False, pdd_ms=1, dial_status="ANSWER", cause=16,
                release_side="caller", legs=0, reason="", caller_dialled="", callee_dialled="", endpoint="",
                remote_address="", facts=self.oracle.facts, last_facts=None,
            )
        )  # fmt: skip
        for _ in range(times):
            self.loop.run_until_complete(Ledger(self.asynchronous).post([leg]))
        self.oracle.balance -= leg.amount_micros
        self.oracle.billed.add(call)
        self.oracle.holds.pop(call, None)

    @rule(calls=SOME_CALLS)
    def release(self, calls: list[int]) -> None:
        gone = {call for call in calls if self.oracle.holds.pop(call, None) is not None}
        row = self.connection.execute("SELECT release_holds(%s)", ([call_id_of(call) for call in calls],)).fetchone()
        assert row == (len(gone),)

    @rule(amount=st.integers(1, 100_000))
    def pay(self, amount: int) -> None:
        self.connection.execute(
            "UPDATE account_balances SET balance = balance + %s * 0.000001 WHERE account_id = %s",
            (amount, self.world.customer_account),
        )
        self.oracle.balance += amount

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "oracle"):
            return
        rows = self.connection.execute("SELECT call_id, covered_seconds, amount, counted FROM holds").fetchall()
        assert {row[0]: row[1:] for row in rows} == {
            call_id_of(call): (hold.covered, Decimal(hold.amount).scaleb(-6), hold.is_counted)
            for call, hold in self.oracle.holds.items()
        }
        row = self.connection.execute(
            "SELECT balance, held, coalesce((SELECT concurrent FROM peer_counters WHERE peer_id = %s), 0)"
            " FROM account_balances WHERE account_id = %s",
            (self.world.originator, self.world.customer_account),
        ).fetchone()
        held = sum(hold.amount for hold in self.oracle.holds.values())
        assert row == (
            Decimal(self.oracle.balance).scaleb(-6), Decimal(held).scaleb(-6), self.oracle.concurrent
        )  # fmt: skip


@pytest.fixture
def machine(postgres_dsn: str) -> Iterator[type[Machine]]:
    loop = asyncio.new_event_loop()
    asynchronous = loop.run_until_complete(psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        world = make_small_world(connection)
        connection.execute("SET synchronous_commit = off")
        yield type(
            "OwnMachine",
            (Machine,),
            {"world": world, "connection": connection, "asynchronous": asynchronous, "loop": loop},
        )
    loop.run_until_complete(asynchronous.close())
    loop.close()


def test_holds_are_what_the_oracle_says(machine: type[Machine]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
