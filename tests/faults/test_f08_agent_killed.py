"""F8: the node agent is killed at random points, its journal rotated, its last line torn; every leg arrives once."""

import random
import threading
import time
from pathlib import Path

import pytest
from fault_line import FaultLine, verdict
from made_legs import insert_parties, journal_line, make_legs

from schemas.topics import DEAD_LETTERS
from sinks.audit.full.sources import read_topic
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.servers]
KILLS = 24
CALLS = 5_000


class Writer(threading.Thread):
    """Writes a journal as Asterisk does, but slowly, and now and then half a line first; rotates it on the way."""

    def __init__(self, journal: Path, lines: list[bytes], chosen: random.Random) -> None:
        super().__init__()
        self.journal, self.lines, self.chosen = journal, lines, chosen
        self.stop = threading.Event()
        self.rotations = 0
        self.torn = 0

    def run(self) -> None:
        file = self.journal.open("ab", buffering=0)
        for number, line in enumerate(self.lines):
            if self.chosen.random() < 0.02:
                cut = self.chosen.randrange(1, len(line))
                file.write(line[:cut])
                self.torn += 1
                self.stop.wait(0.03)
                line = line[cut:]
            file.write(line)
            # Some lines in each of the agent's rounds: it is always about to send, or to store what was acknowledged.
            self.stop.wait(0.004)
            if number % 1_500 == 1_499:
                file.close()
                self.rotations += 1
                self.journal.rename(self.journal.with_name(f"Master.csv.{self.rotations}"))
                file = self.journal.open("ab", buffering=0)
        file.close()


@pytest.mark.timeout(280)
def test_the_agent_is_killed_at_random(line: FaultLine) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    legs = make_legs(insert_parties(line.postgres.dsn.get_secret_value()), seed % 1_000, CALLS)
    directory = line.directory / "sim1"
    (directory / "journal").mkdir(parents=True)
    writer = Writer(directory / "journal" / "Master.csv", [journal_line(leg) for leg in legs], random.Random(seed + 1))
    for role in ("billing", "cdrs"):
        line.start_worker(role)
    line.start_agent(directory, poll_seconds=0.01)
    writer.start()
    for turn in range(KILLS):
        # Every sixth before it has begun; the others while it works.
        time.sleep(chosen.random() + (1.0 if turn % 6 else 0.0))
        line.kill("agent-sim1")
        line.start_agent(directory, poll_seconds=0.01)
    writer.stop.set()
    writer.join()
    report_ = line.audit({"sim1": directory / "journal"}, settle_seconds=120)
    repeats = line.repeats()
    report("F8 node agent killed", line.kills, report_.legs.rated, repeats, verdict(report_))
    assert report_.ok, report_.differences
    assert report_.legs.journal == report_.legs.ledger == report_.legs.cdr == len(legs)
    assert list(read_topic(line.kafka, DEAD_LETTERS)) == []
    assert repeats > 0  # it was really killed between sending and storing
    assert line.kills >= 20
    assert writer.rotations >= 3
    assert writer.torn > 20
