"""F1: kill -9 of stream workers between the stores' commit and the commit of the offset: every replay is a no-op."""

import random
import time

import pytest
from fault_line import ServersLine
from feeder import call_messages
from made_legs import make_legs, produce

from schemas.topics import CALLS
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]
# Offsets are committed every 2 s, and batches are small: most kills find work in the stores that is not committed.
OPTIONS = {"batch_messages": 10, "batch_seconds": 0.05, "insert_seconds": 0.1, "commit_seconds": 2}
WORKERS = {"streams-1": "billing", "streams-2": "cdrs"}


@pytest.mark.timeout(900)
def test_kill_9_after_the_stores_and_before_the_offsets(line: ServersLine, chance: random.Random, whole: bool) -> None:
    points = 20 if whole else 2
    rounds = points * 2 + 8  # some kills find everything committed: that is chance
    ended = make_legs(line.parties, 1, 60 * (rounds + 1))
    bitten = points_tried = cdr_kills = 0
    while bitten < points:
        assert points_tried < rounds, f"{bitten} of {points_tried} kills found legs that were posted and not committed"
        before = line.posted(), line.written()
        for name, role in WORKERS.items():
            if not line.alive(name):
                line.start(name, role, **OPTIONS)
        part = ended[points_tried :: rounds + 1]
        produce(line.kafka, CALLS, call_messages(part, line.kafka.partitions, 5))
        line.until(lambda: line.posted() > before[0] and line.written() > before[1], alive=list(WORKERS))  # noqa: B023
        time.sleep(chance.uniform(0, 1.0))
        line.kill("streams-1")
        bitten += bool(line.uncommitted())
        points_tried += 1
        if points_tried % 3 == 0:
            time.sleep(chance.uniform(0, 0.2))
            line.kill("streams-2")
            cdr_kills += 1
    for name, role in WORKERS.items():
        if not line.alive(name):
            line.start(name, role)
    rest = [leg for number in range(points_tried, rounds + 1) for leg in ended[number :: rounds + 1]]
    produce(line.kafka, CALLS, call_messages(rest, line.kafka.partitions, 20))
    line.until(lambda: line.posted() >= len(ended) and line.written() >= len(ended), alive=list(WORKERS))
    audited = line.audit_of(ended)
    assert audited.ok, audited.differences
    assert audited.legs.ledger == audited.legs.cdr == len(ended)
    assert line.repeated("streams-1") > 0
    assert not line.letters()
    line.end()
    name = f"F1 kill -9 of billing at {points_tried} points, {bitten} between the commits; of CDRs at {cdr_kills}"
    report(name, points_tried + cdr_kills, len(ended), line.repeated("streams-1"), "equal")
