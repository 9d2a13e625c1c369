"""A new start of Asterisk: Kafka is told of it, and the calls that died with the one before are closed.

Journal first: the search begins when the relay has come to the journal's end, and runs in a thread beside it. The new
epoch is stored only when all closings are acknowledged; an agent that is killed before that makes the same ones again.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from agent.journal.files import look
from agent.journal.marks import AgentState
from agent.journal.open_calls import OpenCalls
from agent.restart.estimates import close_call
from agent.restart.last_heartbeat import LastHeartbeat, load_heartbeat
from agent.state_file import AgentError
from schemas.clock_steps import UNKNOWN, Clock
from schemas.events import CallEnded, LegEnded, NodeRestarted
from schemas.ids import epoch_of
from schemas.journal import JournalError, JournalEvent, decode_line

log = structlog.get_logger(__name__)
CHUNK_BYTES: Final = 1 << 20  # searched at once: some milliseconds, then the relay has its turn
EVENTS_AT_ONCE: Final = 1_000
_OPEN_TRIES: Final = 10
_END_SECONDS: Final = 10.0


class NewStart(NamedTuple):
    """What the watch has found. `event` None: only the name of the start was not known yet.

    `started`: the start by Asterisk's own word. `alive`: the calls that are really there now.
    """

    event: NodeRestarted | None
    epoch: int
    started: str
    alive: frozenset[str]


class Restart:
    """One new start on its way. Used by the relay's thread alone; the search runs in another."""

    def __init__(self, node: str, directory: Path, start: NewStart, known_epoch: int, clock: Clock = UNKNOWN) -> None:
        """`known_epoch`: the last one whose predecessors' calls are all closed (0: none). `clock`: the node's."""
        self._clock = clock
        self.start = start
        self._node = node
        self._directory = directory
        self._known_epoch = known_epoch
        self._stop = threading.Event()
        self._search: threading.Thread | None = None
        self._found: list[LegEnded | CallEnded] | None = None
        self._error: Exception | None = None
        self._told = start.event is None
        self._sent = 0

    @property
    def is_done(self) -> bool:
        """Whether all of it is acknowledged."""
        return self._told and self._found is not None and self._sent == len(self._found)

    def next_events(self) -> Sequence[NodeRestarted | LegEnded | CallEnded]:
        """What is to be sent now. Raises what the search ended with: OSError, AgentError."""
        if self._error is not None:
            raise self._error
        if not self._told and self.start.event is not None:
            return [self.start.event]
        return [] if self._found is None else self._found[self._sent : self._sent + EVENTS_AT_ONCE]

    def acknowledged(self, events: Sequence[NodeRestarted | LegEnded | CallEnded]) -> None:
        """These are in Kafka."""
        if events and not self._told:
            self._told = True
        else:
            self._sent += len(events)

    def caught_up(self) -> None:
        """The relay has come to the journal's end: the search may begin. Only the first time matters."""
        if self._search is None:
            self._search = threading.Thread(target=self._run, name="crashed-calls", daemon=True)
            self._search.start()

    def end(self) -> None:
        """Give up the search, and wait for its thread."""
        self._stop.set()
        if self._search is not None:
            self._search.join(_END_SECONDS)

    def stored(self, state: AgentState) -> AgentState:
        """The state to be stored once it is done."""
        return AgentState(self.start.epoch, state.files, state.v, self.start.started)

    def _run(self) -> None:
        try:
            found: list[LegEnded | CallEnded] = []
            if self.start.epoch > self._known_epoch:
                found = crashed_calls(
                    self._node,
                    self._directory,
                    self._known_epoch,
                    self.start.epoch,
                    self.start.alive,
                    self._stop,
                    self._clock,
                )
        except (OSError, AgentError) as error:
            self._error = error
            return
        if found:
            calls = sum(1 for event in found if isinstance(event, CallEnded))
            log.warning("calls died with Asterisk: closed by estimate", calls=calls, legs=len(found))
        if not self._stop.is_set():
            self._found = found


def crashed_calls(
    node: str,
    directory: Path,
    first_epoch: int,
    before_epoch: int,
    alive: frozenset[str],
    stop: threading.Event,
    clock: Clock = UNKNOWN,
) -> list[LegEnded | CallEnded]:
    """The closings of calls that the journal opened in these epochs and never closed, without those in `alive`.
    `clock`: the node's.
    """
    calls = OpenCalls(node, first_epoch, before_epoch)
    for chunk in _journal(directory / "journal"):
        if stop.is_set():
            return []
        if chunk is None:
            calls.end_file()
        else:
            calls.take(chunk)
    heartbeats: dict[int, LastHeartbeat | None] = {}
    closed: list[LegEnded | CallEnded] = []
    for call_id, lines in sorted(calls.lines().items()):
        epoch = epoch_of(call_id)
        if epoch not in heartbeats:
            heartbeats[epoch] = load_heartbeat(directory, epoch)
        if call_id not in alive:
            closed += close_call(_readable(lines, clock), heartbeats[epoch])
    return closed


def _journal(journal: Path) -> Iterator[bytes | None]:
    """All files as they are now, oldest first, in pieces; None at the end of each. Raises OSError."""
    opened: list[tuple[int, int]] = []
    try:
        opened = _open_all(journal)
        for descriptor, size in opened:
            place = 0
            while place < size and (piece := os.pread(descriptor, min(CHUNK_BYTES, size - place), place)):
                place += len(piece)
                yield piece
            yield None
    finally:
        for descriptor, _ in opened:
            os.close(descriptor)


def _open_all(journal: Path) -> list[tuple[int, int]]:
    """(descriptor, size) of each file: once open, a file may be renamed under its reader."""
    for _ in range(_OPEN_TRIES):
        opened: list[tuple[int, int]] = []
        for file in look(journal):
            try:
                descriptor = os.open(journal / file.name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                break
            opened.append((descriptor, file.size))
            if os.fstat(descriptor).st_ino != file.inode:  # renamed between the look and the opening
                break
        else:
            return opened
        for descriptor, _ in opened:
            os.close(descriptor)
    raise OSError(f"{journal}: its files changed their names {_OPEN_TRIES} times while they were being opened")


def _readable(lines: Sequence[bytes], clock: Clock) -> Iterator[JournalEvent]:
    for line in lines:
        try:
            event = decode_line(line, clock)
        except JournalError:
            continue  # the relay has made a dead letter of it
        if event is not None:
            yield event
