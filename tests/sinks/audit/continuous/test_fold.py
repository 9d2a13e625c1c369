"""The auditor's fold: in any order and any cuts equal stores leave nothing; a fault is named by its leg."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.audit.continuous import fold
from sinks.audit.continuous.fold import Difference, Found, Posted, Rated, Sums, Waiting

ACCOUNT: Final = 1001
START_MS: Final = 1_795_609_900_000
MINUTE_MS: Final = 60_000


def leg_id(number: int) -> str:
    return f"ast1-1795609861-{1795609900 + number}.{number}/{number % 2}"


def rated(number: int, micros: int, revision: int = 1) -> Rated:
    return Rated(leg_id(number), revision, ACCOUNT, micros, START_MS)


def posted(number: int, micros: int, *, first: bool = True) -> Posted:
    receivable = number % 2 == 0
    return Posted(leg_id(number), ACCOUNT, -micros if receivable else micros, True, first, receivable, START_MS)


@dataclass
class Stores:
    """What a ledger, a topic and the CDRs hold; the ledger's entries are counted up to a horizon, then seen."""

    topic: list[Rated] = field(default_factory=list)
    ledger: list[Posted] = field(default_factory=list)
    cdrs: dict[str, int] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()
    waiting: dict[str, Waiting] = field(default_factory=dict)
    read: int = 0
    counted: int = 0

    def run(self, now_ms: int, most_rated: int = 1000, most_posted: int = 1000) -> list[Difference]:
        """A run as sinks.audit.continuous.main makes it."""
        horizon = min(len(self.ledger), self.counted + most_posted)
        legs = self.topic[self.read : self.read + most_rated]
        self.waiting = fold.take_posted(self.waiting, self.ledger[self.counted : horizon], now_ms)
        self.waiting = fold.match_ledger(fold.take_rated(self.waiting, legs, now_ms))
        self.read, self.counted = self.read + len(legs), horizon
        found = self.found(fold.to_look_up(self.waiting))
        self.waiting = fold.take_found(self.waiting, found)
        asked = fold.to_ask_for(self.waiting, now_ms)
        wrong = {item.leg_id: "none" for item in asked if self.cdrs.get(item.leg_id) != item.rated_micros}
        self.waiting = fold.take_cdrs(self.waiting, asked, wrong)
        return fold.differences(
            self.waiting, found, wrong, self.dead,
            before_ms=now_ms - MINUTE_MS, all_rated_read=self.read == len(self.topic),
        )  # fmt: skip

    def found(self, items: list[Waiting]) -> dict[str, Found]:
        result = {}
        for item in items:
            rows = [(at, one) for at, one in enumerate(self.ledger) if one.reference == item.leg_id]
            if rows:
                micros = sum(fold.as_positive(one) for _, one in rows)
                result[item.leg_id] = Found(rows[0][1].account_id, micros, all(at < self.counted for at, _ in rows))
        return result


@settings(max_examples=300)
@given(st.data())
def test_equal_stores_leave_nothing_however_they_are_read(data: st.DataObject) -> None:
    """Each leg is rated (perhaps estimated first, perhaps again), then posted, then written; runs come in between."""
    stores = Stores()
    amounts = data.draw(st.lists(st.tuples(st.integers(0, 900), st.booleans(), st.integers(0, 900)), max_size=6))
    steps = [(number, step) for number in range(len(amounts)) for step in range(6)]
    order = data.draw(st.permutations([number for number, _ in steps]))
    done = dict.fromkeys(range(len(amounts)), 0)
    now_ms = START_MS
    for number in order:
        step, done[number] = done[number], done[number] + 1
        true, estimated, estimate = amounts[number]
        before = estimate if estimated else 0
        if step == 0 and estimated:
            stores.topic.append(rated(number, estimate, 0))
        elif step == 1 and estimated:
            stores.ledger.append(posted(number, estimate))
        elif step == 2:
            stores.topic.append(rated(number, true))
        elif step == 3:
            stores.ledger.append(posted(number, true - before, first=not estimated))
        elif step == 4:
            stores.cdrs[leg_id(number)] = true
        elif step == 5 and data.draw(st.booleans()):
            stores.topic.append(rated(number, true))  # once more, after a crash
        if data.draw(st.integers(0, 3)) == 0:
            now_ms += data.draw(st.integers(0, 20_000))
            found = stores.run(now_ms, data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)))
            assert [one for one in found if one.kind == fold.NOT_RATED] == []
    for _ in range(len(steps) + 2):
        now_ms += 1_000
        stores.run(now_ms, 1, 1)
    assert stores.run(now_ms + 10 * MINUTE_MS) == []
    assert stores.waiting == {}


FAULTS: Final[dict[str, tuple[Callable[[Stores], Any], Callable[[Stores], Any]]]] = {  # kind: spoil, mend
    fold.NOT_POSTED: (lambda stores: stores.ledger.pop(3), lambda stores: stores.ledger.append(posted(3, 103))),
    fold.NO_CDR: (lambda stores: stores.cdrs.pop(leg_id(3)), lambda stores: stores.cdrs.update({leg_id(3): 103})),
    fold.NOT_RATED: (lambda stores: stores.topic.pop(3), lambda stores: stores.topic.append(rated(3, 103))),
    fold.POSTED_DIFFERS: (
        lambda stores: stores.ledger.append(posted(3, 1, first=False)),
        lambda stores: stores.ledger.append(posted(3, -1, first=False)),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_named_by_its_leg_and_since_when(kind: str) -> None:
    stores = Stores(
        [rated(n, 100 + n) for n in range(6)],
        [posted(n, 100 + n) for n in range(6)],
        {leg_id(n): 100 + n for n in range(6)},
    )
    spoil, mend = FAULTS[kind]
    spoil(stores)
    at_once = stores.run(START_MS)
    assert [one.kind for one in at_once] == ([kind] if kind == fold.NOT_RATED else [])  # others may be on their way
    (found,) = stores.run(START_MS + MINUTE_MS)
    assert (found.kind, found.subject, found.since_ms) == (kind, leg_id(3), START_MS)
    assert stores.run(START_MS + 5 * MINUTE_MS) == [found]
    mend(stores)
    assert stores.run(START_MS + 6 * MINUTE_MS) == []  # and what is mended is seen to be mended
    assert stores.waiting == {}


def test_a_wrong_cdr_is_a_difference_and_a_dead_letter_is_none() -> None:
    stores = Stores([rated(1, 5), rated(2, 7)], [posted(1, 5)], {leg_id(1): 6}, dead=frozenset({leg_id(2)}))
    stores.run(START_MS)
    (found,) = stores.run(START_MS + MINUTE_MS)
    assert (found.kind, found.subject) == (fold.NO_CDR, leg_id(1))


def test_another_account_is_a_difference() -> None:
    other = posted(1, 5)._replace(account_id=ACCOUNT + 1)
    stores = Stores([rated(1, 5)], [other], {leg_id(1): 5})
    stores.counted = 1  # counted long ago: the leg is seen rated once more, for another account
    stores.run(START_MS)
    assert [one.kind for one in stores.run(START_MS + MINUTE_MS)] == [fold.POSTED_DIFFERS]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**6)), max_size=30), st.data())
def test_sums_do_not_depend_on_order_or_cuts(entries: list[tuple[int, int]], data: st.DataObject) -> None:
    rows = [posted(number, micros) for number, micros in entries]
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    total = Sums()
    for part in (shuffled[:cut], shuffled[cut:]):
        for sums in fold.sum_hours(part).values():
            total = Sums(
                total.legs + sums.legs, fold.add_hash(total.leg_hash, sums.leg_hash), total.micros + sums.micros
            )
    assert total == (fold.sum_hours(rows)[fold.hour_of(START_MS), "ast1"] if rows else Sums())
    assert -(2**63) <= total.leg_hash < 2**63
    assert fold.sum_accounts(rows).get(ACCOUNT, 0) == sum(row.micros for row in rows)
