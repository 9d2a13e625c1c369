"""The control role: looks at vendors and customers as the stream shows them, and acts by rows that routers read.

One works at a time (an advisory lock), others wait. It keeps nothing of its own: its windows are made anew from the
log, its checks from the windows, and what is in force from PostgreSQL. While a server is away nothing is acted upon;
what was in force stays so, and ends in every router at its own time.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import psycopg
import structlog
from kafka.errors import KafkaError

from runtime.compacted import CompactedReader, TopicsRemadeError
from runtime.heartbeat import send_beat
from runtime.locks import CONTROLLER
from runtime.metrics import Bounded, gauge
from runtime.topics import TopicError
from schemas.live import LIVE_CALL_DECODER, LiveCall
from schemas.topics import ACTIVE_CALLS, DECISIONS, RATED_LEGS
from sinks.control_actions import Taken, release_by_time, take_action
from streams.app import now_ms
from streams.control_notify import Notifier
from streams.control_store import keep_destinations, read_controls, read_destinations, read_known
from streams.folds.behaviour import MOST_CALLS, MOST_DESTINATIONS, MOST_LEGS, Behaviour
from streams.folds.controls import (
    NOTHING_KNOWN,
    Action,
    Control,
    OriginationControl,
    TerminationControl,
    moment_of,
    origination_actions,
    reach_ms,
    termination_actions,
)
from streams.log_reader import LogReader
from streams.settings import StreamsSettings
from tariffs.timetable import TimetableError, parse_timetable

log = structlog.get_logger(__name__)
LOOK_SECONDS: Final = 2.0  # between two readings of the controls
KEEP_SECONDS: Final = 15.0
_POLL_MS: Final = 300
_RETRY_SECONDS: Final = 2.0
_AWAY: Final = (KafkaError, TopicError, TopicsRemadeError, psycopg.Error, OSError, TimeoutError)
_BOUNDS: Final = "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=5000"

LEGS: Final = Bounded("control_legs", "Legs of the controllers' window; at the bound it is made shorter.")
CALLS: Final = Bounded("control_calls", "Calls going on that the controllers count; further ones are not counted.")
DESTINATIONS: Final = Bounded("control_destinations", "Destinations of customers that the controllers know.")
IN_FORCE: Final = gauge("control_actions_in_force", "Actions of controllers in force.")


class Controller:
    """The controls of one connection to the servers. `close` lets go of them; a new one goes on."""

    def __init__(self, settings: StreamsSettings, clock: Callable[[], int] = now_ms) -> None:
        """Raises psycopg.Error, TopicError and what Kafka's clients raise where a server is away."""
        self._clock = clock
        self._settings = settings
        self._log: LogReader | None = None
        self._live: CompactedReader | None = None
        self._controls: list[Control] = []
        self._checked: dict[tuple[type[Control], int], int] = {}
        self._look_at = self._keep_at = 0.0
        self._notifier = Notifier(settings.control_webhook)
        self._connection = psycopg.connect(
            settings.dsn,
            autocommit=True,
            connect_timeout=5,
            application_name="streams-control",
            options=_BOUNDS,
        )
        try:
            row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (CONTROLLER,)).fetchone()
            self.works = bool(row and row[0])
            if self.works:
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        settings = self._settings
        self._controls = read_controls(self._connection)
        self._window_ms = reach_ms(self._controls)
        self.seen = Behaviour(self._window_ms, read_destinations(self._connection, MOST_DESTINATIONS))
        self._lost = (0, 0)
        from_ms = self._clock() - self._window_ms
        self._log = LogReader(settings.kafka, (RATED_LEGS, DECISIONS), from_ms, "streamco-control")
        self._live = CompactedReader(settings.kafka, (ACTIVE_CALLS,), "streamco-control")
        LEGS.watch(MOST_LEGS, lambda: self.seen.vendors.legs)
        CALLS.watch(MOST_CALLS, lambda: len(self.seen.going))
        DESTINATIONS.watch(MOST_DESTINATIONS, lambda: len(self.seen.destinations))

    def step(self) -> str:
        """Read, check what is due, act; what was done, in words. Raises what the servers' clients raise."""
        if self._log is None or self._live is None:
            return "another controller works"
        for event in self._log.poll(_POLL_MS):
            self.seen.take(event, self._clock())
        for message in self._live.poll(10):
            self.seen.take_live(message.key, _live_call(message.value))
        if not (self._log.complete and self._live.complete):
            return f"reads the window from the log: {self.seen.vendors.legs} legs"
        if time.monotonic() >= self._look_at:
            self._controls = read_controls(self._connection)
            if reach_ms(self._controls) > self._window_ms:
                return self._reach_further()
            for action_id in release_by_time(self._connection):
                log.info("a control's action is over", action=action_id)
            self._notifier.tell(self._connection)
            self._look_at = time.monotonic() + LOOK_SECONDS
        self._check()
        if time.monotonic() >= self._keep_at and (changed := self.seen.take_changed()):
            keep_destinations(self._connection, changed)
            self._keep_at = time.monotonic() + KEEP_SECONDS
        return f"{len(self._controls)} controls over {self.seen.vendors.legs} legs"

    def _reach_further(self) -> str:
        """A control looks further back than the window does: it is made anew, from the log."""
        keep_destinations(self._connection, self.seen.take_changed())
        self._let_go()
        self._open()
        return "reads a longer window from the log"

    def _count_lost(self) -> None:
        legs, others = self.seen.vendors.lost + self.seen.bills.lost + self.seen.attempts.lost, self.seen.lost
        LEGS.lose(legs - self._lost[0])
        CALLS.lose(others - self._lost[1])
        self._lost = (legs, others)

    def _check(self) -> None:
        """Each control whose next check is due. A check that was missed is not made up for: the newest tells more."""
        now = self._clock()
        due = {
            (type(control), control.control_id): control
            for control in self._controls
            if moment_of(control, now) > self._checked.get((type(control), control.control_id), 0)
        }
        if not due:
            return
        self._count_lost()
        self.seen.expire(now)
        known = read_known(self._connection)
        IN_FORCE.set(sum(len(one.in_force) for one in known.values()))
        for key, control in due.items():
            moment_ms = moment_of(control, now)
            kind = "termination" if isinstance(control, TerminationControl) else "origination"
            mine = known.get((kind, control.control_id), NOTHING_KNOWN)
            if isinstance(control, TerminationControl):
                between = partial(self.seen.figures, control.metric)
                actions = termination_actions(control, self.seen.vendors.totals(), between, moment_ms, mine)
            else:
                measured = self.seen.measured(control, moment_ms)
                actions = origination_actions(control, threshold_of(control, moment_ms), measured, moment_ms, mine)
            for action in actions:
                self._take(action)
            self._checked[key] = moment_ms

    def _take(self, action: Action) -> None:
        taken = Taken(**{name: getattr(action, name) for name in Taken._fields})
        if take_action(self._connection, taken):
            log.warning("a control acts", **taken._asdict())

    def close(self) -> None:
        """Let go of the servers."""
        self._let_go()
        with contextlib.suppress(*_AWAY):
            self._connection.close()

    def _let_go(self) -> None:
        for held in (self._log, self._live):
            if held is not None:
                with contextlib.suppress(*_AWAY):
                    held.close()
        self._log = self._live = None


def _live_call(value: bytes | None) -> LiveCall | None:
    """A value of the live view; one of another version is as if it was not there."""
    try:
        return LIVE_CALL_DECODER.decode(value) if value else None
    except msgspec.MsgspecError:
        return None


def threshold_of(control: OriginationControl, moment_ms: int) -> int:
    """The threshold that holds at a moment: the timetable's own inside it. A timetable that cannot be read has none."""
    if control.timetable_e6 is None:
        return control.threshold_e6
    try:
        timetable = parse_timetable(control.timetable, control.time_zone)
    except TimetableError as error:
        log.warning("a control's timetable cannot be read", control=control.name, error=str(error))
        return control.threshold_e6
    return control.timetable_e6 if timetable is None or timetable.at(moment_ms).active else control.threshold_e6


def run_control(settings: StreamsSettings, stopping: Callable[[float], Any]) -> None:
    """Control until told to stop. `stopping(seconds)` waits so long at most and says whether to end."""
    controller: Controller | None = None
    while not stopping(0.0):
        try:
            controller = controller or Controller(settings)
            said = controller.step()
            send_beat(settings.beat, detail=said)
            if not controller.works:  # ask for the lock again, by and by
                controller.close()
                controller = None
                stopping(_RETRY_SECONDS)
        except _AWAY as error:
            log.warning("no control: a server is away", error=repr(error)[:300])
            said = f"no control: a server is away: {error!r}"[:300]
            send_beat(
                settings.beat, detail=said, degraded=f"{said}: nothing new is held back, what is held ends in time"
            )
            if controller is not None:
                controller.close()
            controller = None
            stopping(_RETRY_SECONDS)
    if controller is not None:
        controller.close()
