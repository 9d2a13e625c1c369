"""From the journal to Kafka: read a batch, send it, wait until the broker has all of it, then store how far that was.

One thread, one batch at a time. A batch that was not acknowledged whole is read and sent again, so every line arrives
at least once and in order; what arrives twice has the same event ids. Kafka away: the journal waits on disk.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from agent.journal.files import known_again, look, read_batch, waiting_bytes
from agent.journal.marks import AgentState, without_marks
from agent.outbox import OwnEvent, fill_outbox
from agent.restart.restart import NewStart, Restart
from agent.sender import KafkaAwayError, Sender
from agent.settings import AgentSettings
from agent.state_file import load_state, store_state
from agent.wire.legs import Wire
from agent.wire.words import WireWords
from runtime.disk import is_full
from runtime.heartbeat import send_beat
from runtime.metrics import Bounded, counter, gauge
from schemas.clock_steps import UNKNOWN, Clock
from schemas.events import CallEnded, LegEnded, LegRinging, NodeHeartbeat

log = structlog.get_logger(__name__)
_RINGING_LIMIT: Final = 20_000  # that wait for Kafka; of more, the oldest go: they serve the live view
_RINGING_BATCH: Final = 2_000
_BEAT_SECONDS: Final = 1.0
RINGING: Final = Bounded("agent_ringing_waiting", "Ringing events that wait for Kafka, for the live view.")
WAITING: Final = gauge("agent_journal_waiting_bytes", "Bytes of the journal that Kafka has not acknowledged yet.")
UNSTORED: Final = counter("agent_state_not_stored", "Tries to store the agent's state that failed: the disk is full.")


class Relay:
    """`health` and `degraded` are told to the supervisor with every beat: words about AMI and PostgreSQL, and what
    this agent cannot do for them. `clock`: reads the node's. `wire`: knows the packets of its legs.
    """

    def __init__(
        self,
        settings: AgentSettings,
        sender: Sender,
        health: Callable[[], str] = str,
        clock: Callable[[], Clock] = lambda: UNKNOWN,
        degraded: Callable[[], str] = str,
        wire: Wire | None = None,
    ) -> None:
        """Reads the stored state. Raises AgentError."""
        self._settings = settings
        self._clock = clock
        self._wire = wire
        self._words = WireWords(settings.directory)
        self._journal = settings.directory / "journal"
        self._sender = sender
        self._health = health
        self._degraded = degraded
        self._ringing: deque[LegRinging] = deque(maxlen=_RINGING_LIMIT)
        self._heartbeat: NodeHeartbeat | None = None
        self._restart: Restart | None = None
        self._new_start: NewStart | None = None
        self._deleted: deque[int] = deque()
        self._closed: Sequence[CallEnded] = ()
        self._beat_at = 0.0
        self._reached = False  # whether the broker has been spoken to since the last failure
        stored = load_state(settings.directory)
        self.state: AgentState = known_again(self._journal, look(self._journal), stored)
        self._stored: AgentState = stored
        self._store_at = 0.0
        RINGING.watch(_RINGING_LIMIT, lambda: len(self._ringing))
        WAITING.set_function(lambda: self.journal_waiting_bytes)
        self.journal_offset = 0
        self.journal_waiting_bytes = 0
        self.sent_events = 0
        self.undecodable = 0
        self.estimated = 0

    def put(self, event: LegRinging | NodeHeartbeat) -> None:
        """An event of the agent's own, from any thread; it goes with the next batch. Of heartbeats only the newest."""
        if isinstance(event, LegRinging):
            if len(self._ringing) == _RINGING_LIMIT:
                RINGING.lose()
            self._ringing.append(event)
        else:
            self._heartbeat = event

    def close(self, ended: Sequence[CallEnded]) -> None:
        """Ends of calls that have no line; from any thread. They go with the next batch; the newest list stands."""
        self._closed = ended

    def begin(self, start: NewStart) -> None:
        """Asterisk has started anew; from any thread. The newest start stands for those before it."""
        self._new_start = start

    def forget(self, inode: int) -> None:
        """A file of the journal was deleted; from any thread. Its mark goes with the next batch."""
        self._deleted.append(inode)

    @property
    def known_start(self) -> tuple[int, str]:
        """(epoch, start by Asterisk's word) that Kafka was told of, or is being told of."""
        new, state = self._new_start, self.state
        return (state.epoch, state.started) if new is None else (new.epoch, new.started)

    @property
    def is_caught_up(self) -> bool:
        """Whether every line that there was at the last round is sent."""
        return self._reached and not self.journal_waiting_bytes

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop`. Raises OSError: a disk that cannot be read or written is none of Kafka's matters."""
        settings = self._settings
        try:
            while not stop.is_set():
                try:
                    pause_seconds = 0.0 if self.round() else settings.poll_seconds
                except KafkaAwayError as error:
                    self._kafka_away(error)
                    pause_seconds = settings.retry_seconds
                stop.wait(pause_seconds)
            try:
                self.round()
            except KafkaAwayError as error:
                log.warning("the journal's last lines wait for the next start", error=str(error))
        finally:
            if self._restart is not None:
                self._restart.end()
            self._sender.close()

    def round(self) -> bool:
        """One batch, if there is one; whether more waits. Raises KafkaAwayError, and OSError of the disk."""
        found = look(self._journal)
        batch = read_batch(self._journal, found, self.state, self._settings.batch_bytes)
        heartbeat, restart, closed = self._heartbeat, self._restart_at_work(), self._closed
        of_restart = restart.next_events() if restart is not None else []
        ringing = [self._ringing[number] for number in range(min(len(self._ringing), _RINGING_BATCH))]
        own: list[OwnEvent] = [event for event in (*of_restart, *closed, heartbeat, *ringing) if event is not None]
        partitions = self._settings.kafka.partitions
        # Nobody waits for packets while more lines wait.
        seconds = 0.0 if batch.full else self._settings.wire_seconds
        wire = {} if self._wire is None else self._words.with_kept(batch.lines, self._wire.of(batch.lines, seconds))
        # Behind the batch: a step that a line of it tells of is known then.
        clock = self._clock()
        outbox = fill_outbox(
            self._settings.node, batch.lines, own, partitions, time.time_ns() // 1_000_000, clock, wire
        )
        self._words.keep(wire)
        if outbox.messages or not self._reached:
            self._sender.send(outbox.messages)
            self._reached = True
        if self._wire is not None:
            self._wire.forget(batch.lines)
        state = self._without_deleted(batch.state)
        if restart is not None:
            restart.acknowledged(of_restart)
            state = restart.stored(state) if restart.is_done else state
        self.state = state
        self._store()
        if restart is not None:
            self._go_on(restart, caught_up=not batch.full)
        self.estimated += sum(isinstance(event, LegEnded | CallEnded) for event in of_restart)
        if self._closed is closed:
            self._closed = ()
        self.estimated += len(closed)
        self._forget_sent(heartbeat, ringing)
        self.sent_events += outbox.events
        self.undecodable += outbox.undecodable
        if outbox.undecodable:
            log.error("journal lines that cannot be read became dead letters", lines=outbox.undecodable)
        self.journal_offset, self.journal_waiting_bytes = waiting_bytes(found, state)
        self._beat()
        return batch.full

    def _store(self) -> None:
        """Store the state. A disk without room is tried again each retry_seconds while the journal is relayed on: what
        the file lacks is sent once more after a kill, harmlessly. Raises any other OSError.
        """
        if self.state == self._stored or time.monotonic() < self._store_at:
            return
        try:
            store_state(self._settings.directory, self.state)
        except OSError as error:
            if not is_full(error):
                raise
            self._store_at = time.monotonic() + self._settings.retry_seconds
            UNSTORED.inc()
            log.error("how far the journal was sent is not stored: the disk is full", error=str(error))  # noqa: TRY400
            return
        if self._store_at:
            log.warning("how far the journal was sent is stored again")
            self._store_at = 0.0
        self._stored = self.state

    def _without_deleted(self, state: AgentState) -> AgentState:
        """The state without the marks of files that were deleted. The inode may be another file's already: then it
        is read from its beginning again, which is harmless.
        """
        gone = {self._deleted.popleft() for _ in range(len(self._deleted))}
        return without_marks(state, gone) if gone else state

    def _restart_at_work(self) -> Restart | None:
        """The new start that is being told of; a newer one takes its place, and what was not stored is made again."""
        new = self._new_start
        if new is None or (self._restart is not None and self._restart.start is new):
            return self._restart
        if self._restart is not None:
            self._restart.end()
        self._restart = Restart(self._settings.node, self._settings.directory, new, self.state.epoch, self._clock())
        return self._restart

    def _go_on(self, restart: Restart, *, caught_up: bool) -> None:
        if restart.is_done:
            self._restart = None
            if self._new_start is restart.start:
                self._new_start = None
        elif caught_up:
            restart.caught_up()

    def _forget_sent(self, heartbeat: NodeHeartbeat | None, ringing: list[LegRinging]) -> None:
        """Take out what was sent, and nothing that came in its place meanwhile."""
        if self._heartbeat is heartbeat:
            self._heartbeat = None
        for event in ringing:
            if self._ringing and self._ringing[0] is event:
                self._ringing.popleft()

    def _beat(self) -> None:
        if time.monotonic() - self._beat_at < _BEAT_SECONDS:
            return
        self._beat_at = time.monotonic()
        estimated = f", {self.estimated} legs closed by estimate" if self.estimated else ""
        waiting = f"{self.journal_waiting_bytes} bytes wait"
        detail = f"{self.sent_events} events sent, {waiting}{estimated}, {self._health()}"
        send_beat(self._settings.beat, detail=detail, degraded=self._degraded())

    def _kafka_away(self, error: KafkaAwayError) -> None:
        self._reached = False
        _, waiting = waiting_bytes(look(self._journal), self.state)
        log.warning("the journal waits: Kafka is away", error=str(error), waiting_bytes=waiting)
        send_beat(self._settings.beat, ok=False, detail=f"Kafka is away, {waiting} bytes of the journal wait")
