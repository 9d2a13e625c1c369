"""F6: Kafka kill -9 while calls end: the journal waits on disk and drains in order, nothing is lost or twice."""

import random
import time
from pathlib import Path

import pytest
from fault_line import ServersLine
from made_legs import Ended, journal_line, make_legs

from schemas.topics import CALLS
from sinks.audit.full.sources import read_topic
from tests.faults.report import report

pytestmark = [pytest.mark.servers, pytest.mark.faults]


def append(journal: Path, legs: list[Ended]) -> None:
    with journal.open("ab") as file:
        for leg in legs:
            file.write(journal_line(leg))


def order_of(line: ServersLine) -> dict[str, list[str]]:
    """For each call: its events as they stand in `calls`, each where it stands first."""
    found: dict[str, list[str]] = {}
    for event in read_topic(line.kafka, CALLS):
        seen = found.setdefault(event.call_id, [])
        if event.event_id not in seen:
            seen.append(event.event_id)
    return found


def test_f6_kafka_killed_the_journal_waits_and_drains_in_order(
    line: ServersLine, chance: random.Random, whole: bool
) -> None:
    kills, seconds = (2, 8.0) if whole else (1, 3.0)
    ended = make_legs(line.parties, 12, 400 * (kills + 1))
    journal = line.directory / "sim1" / "journal" / "Master.csv"
    journal.parent.mkdir(parents=True)
    journal.touch()
    names = ("streams-1", "streams-2")
    for name, role in zip(names, ("billing", "cdrs"), strict=True):
        line.keep(name, role)
    (line.directory / "sim1" / "epoch").write_text("1795000000\n")
    line.start_agent(line.directory / "sim1", send_seconds=2)
    line.until(lambda: line.working(*names))
    waited = written = 0
    share = len(ended) // (kills + 1) // 2
    for _ in range(kills):
        append(journal, ended[written : written + share])
        time.sleep(chance.uniform(0, 1.5))  # the middle of it: some is in Kafka, some on its way
        line.servers.kill("kafka")
        time.sleep(chance.uniform(seconds / 2, seconds))
        append(journal, ended[written + share : written + 2 * share])
        written += 2 * share
        time.sleep(1)
        waited += line.posted() < written
        line.servers.start("kafka")
        line.until(lambda: line.posted() == written)  # noqa: B023
    append(journal, ended[written:])
    line.until(lambda: line.posted() == len(ended) == line.written())
    assert waited == kills, "the journal never had to wait"
    audited = line.audit({"sim1": journal.parent})
    assert audited.ok, audited.differences
    wanted: dict[str, list[str]] = {}
    for leg in ended:
        wanted.setdefault(leg.call_id, []).append(leg.event_id)
    assert order_of(line) == wanted
    again = sum(1 for _ in read_topic(line.kafka, CALLS)) - len(ended) + line.repeated("streams-1")
    line.end()
    report("F6 Kafka kill -9, journal waits on disk", kills, len(ended), again, "equal")
