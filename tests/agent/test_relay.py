"""The tail against a slow oracle: whatever is split, rotated, refused or killed, every line arrives, first in order,
and the stored offset is never ahead of what was acknowledged."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.journal.files import look
from agent.journal.marks import head_of
from agent.relay import Relay
from agent.restart.restart import NewStart
from agent.state_file import load_state
from schemas.events import LegRinging, NodeRestarted

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 6)),
        st.tuples(st.just("tear"), st.integers(1, 400)),
        st.tuples(st.just("rotate"), st.just(0)),
        st.tuples(st.just("copy"), st.just(0)),
        st.tuples(st.just("round"), st.just(0)),
        st.tuples(st.just("away"), st.integers(0, 3)),
        st.tuples(st.just("kill"), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


class History:
    """One node's directory, a writer like Asterisk, and an agent that is killed and started again."""

    def __init__(self, directory: Path, make: Any, line_of: Any, broker: Any) -> None:
        self.directory = directory
        self.make = make
        self.line_of = line_of
        self.broker = broker
        self.written = 0
        self.pending = b""  # what is left of a line that was torn in two
        self.clock_ns = 1_795_609_900_000_000_000
        self.rotated = 0
        (directory / "journal").mkdir(parents=True)
        self.relay = self.start()

    def start(self) -> Relay:
        return Relay(self.make(self.directory), self.broker)

    @property
    def live(self) -> Path:
        return self.directory / "journal" / "Master.csv"

    def append(self, raw: bytes) -> None:
        with self.live.open("ab") as journal:
            journal.write(raw)
        self.clock_ns += 1_000_000
        os.utime(self.live, ns=(self.clock_ns, self.clock_ns))

    def finish_line(self) -> None:
        if self.pending:
            self.append(self.pending)
            self.pending = b""

    def write(self, count: int) -> None:
        self.finish_line()
        for _ in range(count):
            self.append(self.line_of(self.written))
            self.written += 1

    def tear(self, at: int) -> None:
        self.finish_line()
        line = self.line_of(self.written)
        at = min(at, len(line) - 1)
        self.append(line[:at])
        self.pending = line[at:]
        self.written += 1

    def rotate(self) -> None:
        self.finish_line()
        if self.live.exists():
            self.rotated += 1
            self.live.rename(self.live.with_name(f"Master.csv.{self.rotated}"))

    def copy(self) -> None:
        """The directory is moved to another disk: every file gets another inode."""
        copied = self.directory.with_name(self.directory.name + "-copy")
        shutil.copytree(self.directory, copied)
        shutil.rmtree(self.directory)
        copied.rename(self.directory)
        self.relay = self.start()

    def step(self, what: str, number: int, away: Any, killed: Any) -> None:
        if what in ("write", "tear"):
            getattr(self, what)(number)
        elif what in ("rotate", "copy"):
            getattr(self, what)()
        elif what == "restart":
            self.relay = self.start()
        else:
            error = {"away": away, "kill": killed}.get(what)
            self.broker.then = [] if error is None else [(error, number)]
            try:
                self.relay.round()
            except (away, killed):
                if what == "kill":
                    self.relay = self.start()
            self.broker.then = []

    def arrived(self) -> list[str]:
        return list(dict.fromkeys(event.event_id for event in self.broker.events()))


@pytest.fixture(scope="module")
def make_history(settings_of: Any, line_of: Any, broker_type: Any) -> Callable[[Path], History]:
    return lambda directory: History(directory, settings_of, line_of, broker_type())


@given(steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_every_line_arrives_in_order_through_any_history(
    steps: list[tuple[str, int]], make_history: Any, event_id_of: Any, away: Any, killed: Any
) -> None:
    with tempfile.TemporaryDirectory() as place:
        history = make_history(Path(place) / "sim1")
        for what, number in steps:
            history.step(what, number, away, killed)
            offset_is_not_ahead(history, event_id_of)
        history.finish_line()
        while history.relay.round():
            pass
        history.relay.round()
        assert history.arrived() == [event_id_of(number) for number in range(history.written)]
        assert history.broker.events("dead-letters") == []
        sizes = {file.inode: file.size for file in look(history.directory / "journal") if file.size}
        assert {mark.inode: mark.offset for mark in history.start().state.files} == sizes


def offset_is_not_ahead(history: Any, event_id_of: Any) -> None:
    """What stands before a stored offset has arrived, whole lines of it."""
    arrived = set(history.arrived())
    offsets = {(mark.inode, mark.head): mark.offset for mark in load_state(history.directory).files}
    for path in (history.directory / "journal").iterdir():
        written = path.read_bytes()
        done = written[: offsets.get((path.stat().st_ino, head_of(written) or ""), 0)]
        assert done == b"" or done.endswith(b"\n")
        for line in done.splitlines():
            number = int(line.partition(b"/")[0].rpartition(b".")[2])
            assert event_id_of(number) in arrived


def test_a_restart_sends_nothing_again(make_history: Any, tmp_path: Path) -> None:
    history = make_history(tmp_path / "sim1")
    history.write(50)
    history.relay.round()
    history.rotate()
    history.write(50)
    history.relay.round()
    sent = len(history.broker.events())
    history.copy()  # a restart with other inodes
    history.relay.round()
    assert len(history.broker.events()) == sent == 100


@pytest.mark.parametrize("seen_short", [True, False])
def test_a_journal_that_lost_its_end_and_grew_again_is_read_again(
    make_history: Any, tmp_path: Path, event_id_of: Any, line_of: Any, seen_short: bool
) -> None:
    history = make_history(tmp_path / "sim1")
    history.write(4)
    history.relay.round()
    size = history.live.stat().st_size
    with history.live.open("r+b") as journal:  # the machine lost its power; the last line had not reached the disk
        journal.truncate(size - len(line_of(3)))
    if seen_short:
        history.relay.round()
    history.written = 4
    history.write(2)
    for _ in range(3):
        history.relay.round()
    assert set(history.arrived()) == {event_id_of(number) for number in range(6)}


def test_an_inode_that_went_to_another_file_is_a_new_file(make_history: Any, tmp_path: Path, event_id_of: Any) -> None:
    history = make_history(tmp_path / "sim1")
    history.write(3)
    history.relay.round()
    history.live.write_bytes(b"")  # the same inode, as copying and truncating leaves it
    history.relay.round()
    history.write(9)
    history.relay.round()
    history.relay.round()
    assert history.arrived() == [event_id_of(number) for number in range(12)]


def test_a_line_without_end_does_not_stop_the_tail(make_history: Any, tmp_path: Path, event_id_of: Any) -> None:
    history = make_history(tmp_path / "sim1")
    history.append(b"x" * 1_300_000 + b"\n")
    history.write(2)
    while history.relay.round():
        pass
    history.relay.round()
    assert history.arrived() == [event_id_of(0), event_id_of(1)]
    letters = history.broker.events("dead-letters")
    assert len({letter.origin for letter in letters}) == len(letters) == 3


def test_an_epoch_is_stored_when_its_event_has_arrived(make_history: Any, tmp_path: Path, away: Any) -> None:
    history = make_history(tmp_path / "sim1")
    event = NodeRestarted(event_id="sim1:5:node_restarted", node="sim1", epoch=5, previous_epoch=0, at_ms=1)
    history.relay.begin(NewStart(event, 5, "then", frozenset()))
    assert history.relay.known_start == (5, "then")  # it is not announced twice
    history.step("away", 0, away, away)
    assert load_state(history.directory).epoch == 0
    while load_state(history.directory).epoch == 0:
        history.relay.round()
    assert (load_state(history.directory).epoch, load_state(history.directory).started) == (5, "then")
    assert history.relay.known_start == (5, "then")
    assert history.broker.events("nodes") == [event]
    history.relay.round()
    assert history.broker.events("nodes") == [event]


def test_kafka_away_is_said_in_the_beat_and_the_thread_goes_on(
    make_history: Any, tmp_path: Path, away: Any, event_id_of: Any, settings_of: Any
) -> None:
    history = make_history(tmp_path / "sim1")
    history.write(3)
    history.broker.then = [(away, 0)] * 2
    quick = settings_of(history.directory, retry_seconds=0.01, poll_seconds=0.01)
    relay = Relay(quick, history.broker)
    stop = threading.Event()
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    while len(history.arrived()) < 3:
        assert thread.is_alive()
    ringing = LegRinging(event_id="r", call_id="sim1-1795609861-1795609900.1", leg=1, ringing_at_ms=1)
    relay.put(ringing)
    while ringing not in history.broker.events():
        assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert '"ok": true' in (history.directory / "beat").read_text()
    history.broker.then = [(away, 0)]
    relay._reached = False
    stop.clear()
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    while '"ok": false' not in (history.directory / "beat").read_text():
        assert thread.is_alive()
    stop.set()
    thread.join(5)
