"""F11: events duplicated, reordered and late, through the real workers: the same final state as in order and once.

(Any order at all is shown for the folds, by hypothesis: tests/streams/folds/test_live.py, tests/sinks/test_ledger.py.)
"""

import random
from collections import Counter

import psycopg
import pytest
from fault_line import ServersLine
from feeder import call_messages
from made_legs import make_legs, produce

from schemas.topics import CALLS
from streams.folds.rating import rate_leg
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]
CALLS_MADE = 150
WORKERS = {"streams-1": "billing", "streams-2": "cdrs"}


@pytest.mark.timeout(280)
def test_duplicated_reordered_and_late_events_come_to_one_state(line: ServersLine, chance: random.Random) -> None:
    ended = make_legs(line.parties, chance.randrange(1_000), CALLS_MADE)
    late = set(chance.sample(range(len(ended)), len(ended) // 5))
    first = [leg for number, leg in enumerate(ended) if number not in late for _ in range(chance.choice((1, 1, 2, 3)))]
    second = [ended[number] for number in late] + chance.sample(first, len(first) // 4)  # late ones, and repeats of all
    for events in (first, second):
        chance.shuffle(events)
    for name, role in WORKERS.items():
        line.start(name, role)
    on_time = len(ended) - len(late)
    produce(line.kafka, CALLS, call_messages(first, line.kafka.partitions, 3))
    line.until(lambda: line.posted() >= on_time and line.written() >= on_time, alive=list(WORKERS))
    produce(line.kafka, CALLS, call_messages(second, line.kafka.partitions, 3))
    line.until(lambda: line.posted() >= len(ended) and line.written() >= len(ended), alive=list(WORKERS))
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    assert audited.legs.ledger == audited.legs.cdr == len(ended)
    repeats = len(first) + len(second) - len(ended)
    assert repeats > 50
    assert not line.letters()
    once: Counter[int] = Counter()
    for leg in ended:
        rated = rate_leg(leg)
        once[rated.account_id] += rated.amount_micros * (-1 if rated.side == "receivable" else 1)
    with psycopg.connect(line.dsn) as connection:
        rows = connection.execute(
            "SELECT account_id, (balance * 1000000)::bigint FROM account_balances WHERE account_id = ANY(%s)",
            (list(line.parties.accounts.values()),),
        ).fetchall()
    assert {account: abs(micros) for account, micros in rows if micros} == {
        account: abs(micros) for account, micros in once.items() if micros
    }
    line.end()
    report("F11 duplicated, reordered, late", len(late), len(ended), repeats, "equal, balances as rated once")
