"""A journal of gigabytes: memory stays flat, the search for crashed calls is quick, and lines flow meanwhile.

By default some 200 MB. For gigabytes, with figures:
STREAMCO_JOURNAL_MB=4000 .venv/bin/python -m pytest -s tests/agent/journal/test_files_large.py --timeout 3000
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from crashed_calls import NEW, OLD, call_id_of, call_lines
from journal_events import events_of

from agent.journal.marks import AgentState
from agent.outbox import Message
from agent.relay import Relay
from agent.restart.restart import NewStart, crashed_calls
from agent.state_file import store_state
from schemas.events import NodeRestarted

MEGABYTES = int(os.environ.get("STREAMCO_JOURNAL_MB", "200"))
FILES = 4
GROWN_MB = 60
OPEN = 50


def write_journal(journal: Path, megabytes: int) -> int:
    """Whole calls, each id once, in rotated files; at the end some that nobody closed. How many events."""
    journal.mkdir(parents=True)
    template = b"".join(call_lines(1, ["fails", "answers"]))
    of_template = len(events_of(template.splitlines(keepends=True)))
    before, *rest = template.split(call_id_of(1).encode())
    prefix = call_id_of(1).rpartition(".")[0].encode() + b"."
    lines = number = 0
    size_of_file = (megabytes << 20) // FILES
    for place in range(FILES, 0, -1):
        name = "Master.csv" if place == 1 else f"Master.csv.{place}"
        with (journal / name).open("wb", buffering=1 << 20) as file:
            while file.tell() < size_of_file:
                number += 1
                call_id = prefix + b"%d" % (number + 1_000)
                file.write(before + call_id + call_id.join(rest))
                lines += of_template
            if place == 1:
                for one in range(OPEN):
                    own = call_lines(one, ["answers"])[:2]
                    file.writelines(own)
                    lines += len(events_of(own))
        os.utime(journal / name, ns=(1_795_609_900_000_000_000 - place,) * 2)
    return lines


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / (1 << 20)


class Peak(threading.Thread):
    """The most memory that the process has had, looked at now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.begin = self.most = resident_mb()

    def run(self) -> None:
        while not self.stop.wait(0.02):
            self.most = max(self.most, resident_mb())


def test_the_search_is_quick_and_its_memory_flat(tmp_path: Path) -> None:
    lines = write_journal(tmp_path / "sim1" / "journal", MEGABYTES)
    peak = Peak()
    peak.start()
    began = time.monotonic()
    found = crashed_calls("sim1", tmp_path / "sim1", OLD, NEW, frozenset(), threading.Event())
    seconds = time.monotonic() - began
    peak.stop.set()
    peak.join()
    print(f"search: {MEGABYTES} MB, {lines} lines, {seconds:.1f} s, {peak.most - peak.begin:.0f} MB more memory")
    assert {one.call_id for one in found} == {call_id_of(number) for number in range(OPEN)}
    assert peak.most - peak.begin < GROWN_MB
    assert MEGABYTES / seconds > 20  # of CPU-bound work on a busy machine; it is some hundreds on a free core


class CountingBroker:
    """Acknowledges everything and keeps nothing."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.estimates_after = 0

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            self.messages += 1
            self.bytes += len(message.value)
            if b":call_estimated" in message.value:
                self.estimates_after = self.messages

    def close(self) -> None:
        pass


@pytest.mark.timeout(3_000)
def test_a_backlog_is_relayed_in_flat_memory_and_a_crash_closed_behind_it(tmp_path: Path, settings_of: Any) -> None:
    megabytes = max(20, MEGABYTES // 5)
    directory = tmp_path / "sim1"
    lines = write_journal(directory / "journal", megabytes)
    store_state(directory, AgentState(epoch=OLD, started="before"))
    broker = CountingBroker()
    relay = Relay(settings_of(directory), broker)  # type: ignore[arg-type]
    event = NodeRestarted(event_id="r", node="sim1", epoch=NEW, previous_epoch=OLD, at_ms=1)
    relay.begin(NewStart(event, NEW, "after", frozenset()))
    peak = Peak()
    peak.start()
    began = time.monotonic()
    while relay.round():
        pass
    seconds = time.monotonic() - began
    assert relay.sent_events == lines + 1  # and the word of the new start
    slowest = 0.0
    while relay.state.epoch != NEW:  # the search goes on: rounds are as quick as ever, nearly
        round_began = time.monotonic()
        relay.round()
        slowest = max(slowest, time.monotonic() - round_began)
        time.sleep(0.005)
    peak.stop.set()
    peak.join()
    print(
        f"relay: {megabytes} MB, {lines} lines, {lines / seconds:.0f} lines/s, {peak.most - peak.begin:.0f} MB more "
        f"memory; slowest round during the search {slowest * 1000:.0f} ms"
    )
    assert relay.estimated == 2 * OPEN
    assert broker.estimates_after == broker.messages  # the journal first
    assert peak.most - peak.begin < GROWN_MB + 40  # a batch of 1 MB, decoded and framed
    assert slowest < 1.0
