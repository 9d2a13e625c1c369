"""Watches the node by AMI: who rings, who is gone, and every few seconds which calls are really there.

What it learns serves the live view, the counters and the holds, never the bill; and it hangs up the calls whose money
has ended, each at that moment. AMI away: it tries again with growing pauses, for ever, while the journal is relayed as
always.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from agent.ami.client import AmiError, AmiSession
from agent.ami.events import (
    FACTS_VARIABLES,
    CallAnswered,
    CallGone,
    Headers,
    Seen,
    fold_status,
    read_event,
    responder_of,
    stamp_ms,
    status_channels,
)
from agent.counters import Counters
from agent.credit.cuts import Cuts
from agent.restart.last_heartbeat import LastHeartbeat, load_heartbeat, next_heartbeat, store_heartbeat
from agent.restart.restart import NewStart
from agent.settings import AgentSettings
from agent.state_file import AgentError, read_epoch
from runtime.disk import is_full
from runtime.metrics import Bounded
from schemas.events import LegRinging, NodeHeartbeat, NodeRestarted
from schemas.refusals import CUT_CAUSE

log = structlog.get_logger(__name__)
_LATE_MS: Final = 2_000  # that an event may be on its way; more is a clock that was set
MAX_HEARTBEAT_CALLS: Final = 6_000  # of about 100 bytes: so many fit into a message of the broker's size
LISTED: Final = Bounded("agent_calls_listed", "Calls that the last heartbeat lists.")


class Watch:
    """`put` takes events for Kafka, `begin` a new start of Asterisk; `journal` gives (offset, bytes that wait),
    `known_start` the (epoch, start) that was told of last; `clock_said` takes Asterisk's wall time, and the monotonic
    times of the answer and of the question; `responded` the endpoint of a vendor that rings or has answered.
    """

    def __init__(
        self,
        settings: AgentSettings,
        counters: Counters,
        *,
        agent_id: str,
        put: Callable[[LegRinging | NodeHeartbeat], None],
        begin: Callable[[NewStart], None],
        journal: Callable[[], tuple[int, int]],
        known_start: Callable[[], tuple[int, str]],
        clock_said: Callable[[int, int, int], None] = lambda *_: None,
        responded: Callable[[str], None] = lambda _endpoint: None,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._agent_id = agent_id
        self._put = put
        self._journal = journal
        self._begin = begin
        self._known_start = known_start
        self._clock_said = clock_said
        self._responded = responded
        self._kept: LastHeartbeat | None = None
        self._listed = 0
        LISTED.watch(MAX_HEARTBEAT_CALLS, lambda: self._listed)
        self._booted = asyncio.Event()
        self._last: Seen | None = None
        self._answers: dict[str, int] = {}  # of calls that no status has shown answered yet, on the monotonic clock
        self._cuts = Cuts()
        self._cuts_changed = asyncio.Event()
        self.health = "AMI not reached yet"
        self.away = ""  # why there are no heartbeats; empty: there are, or it has not been tried yet

    async def run(self) -> None:
        """Sessions, one after the other, until cancelled."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._counters.on_unpaid = lambda unpaid: _unless_closed(loop, self._unpaid, unpaid)
        pause_seconds = settings.ami_retry_seconds
        while True:
            try:
                await self._session()
            except (AmiError, AgentError) as error:
                if str(error) != self.health:
                    log.warning("AMI away: the journal is relayed all the same", error=str(error))
                self.health = self.away = str(error)
            if self._booted.is_set():
                pause_seconds = settings.ami_retry_seconds
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(settings.ami_retry_limit_seconds, pause_seconds * 2)

    async def _session(self) -> None:
        settings = self._settings
        self._booted.clear()
        session = await AmiSession.open(
            settings.ami_host,
            settings.ami_port,
            settings.ami_user,
            settings.ami_secret.get_secret_value(),
            self._event,
            settings.ami_answer_seconds,
            run_by=settings.ami_run_by,
        )
        try:
            self.health = self.away = "AMI waits for Asterisk to be booted"
            await self._until_booted(session)
            started = await self._started(session)
            cutting = asyncio.create_task(self._cut(session))
            either: set[asyncio.Future[Any]] = {session.ended, cutting}
            try:
                while not cutting.done():
                    await self._heartbeat(session, started)
                    self.health, self.away = "AMI is there", ""
                    await asyncio.wait(either, timeout=settings.heartbeat_seconds)
                cutting.result()
            finally:
                cutting.cancel()
                await asyncio.gather(cutting, return_exceptions=True)
        finally:
            session.close()

    async def _until_booted(self, session: AmiSession) -> None:
        booted = asyncio.create_task(self._booted.wait())
        futures: set[asyncio.Future[Any]] = {booted, session.ended}
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            booted.cancel()

    def _event(self, headers: Headers) -> None:
        if str(headers.get("event", "")).lower() == "fullybooted":
            self._booted.set()
            return
        if endpoint := responder_of(self._settings.node, headers):
            self._responded(endpoint)
        event = read_event(self._settings.node, headers, _now_ms())
        if isinstance(event, LegRinging):
            self._put(event)
        elif isinstance(event, CallGone):
            self._answers.pop(event.call_id, None)
            self._counters.gone(event.call_id)
            self._cuts.gone(event.call_id)
        elif isinstance(event, CallAnswered):
            late_ms = min(max(0, _now_ms() - event.at_ms), _LATE_MS)
            self._answers.setdefault(event.call_id, _monotonic_ms() - late_ms)

    def _unpaid(self, unpaid: Mapping[str, int]) -> None:
        self._cuts.unpaid(unpaid)
        self._cuts_changed.set()

    async def _cut(self, session: AmiSession) -> None:
        """Hang up each call whose money ends, when it does. Raises AmiError."""
        while True:
            self._cuts_changed.clear()
            for cut in self._cuts.due(_monotonic_ms()):
                answer = await session.ask({"Action": "Hangup", "Channel": cut.channel, "Cause": str(CUT_CAUSE)})
                if answer[0].success:
                    log.warning("call cut: its account has no more money", call=cut.call_id, paid=cut.paid_seconds)
                else:
                    self._cuts.gone(cut.call_id)
                    log.warning("call not cut", call=cut.call_id, answer=str(answer[0].get("message", "")))
            next_ms = self._cuts.next_at_ms()
            seconds = None if next_ms is None else max(0, next_ms - _monotonic_ms()) / 1000
            try:
                async with asyncio.timeout(seconds):
                    await self._cuts_changed.wait()
            except TimeoutError:
                continue

    async def _started(self, session: AmiSession) -> str:
        """When this Asterisk started, by its own word: the same text as long as it is the same process."""
        answer = (await session.ask({"Action": "CoreStatus"}))[0]
        if not answer.success:
            raise AmiError(f"AMI refuses CoreStatus: {answer.get('message', '')}")
        started = f"{answer.get('corestartupdate', '')} {answer.get('corestartuptime', '')}"[:64].strip()
        if not started:
            raise AmiError("AMI's CoreStatus does not say when Asterisk started")
        return started

    def _epoch(self, started: str) -> int:
        """The epoch of the Asterisk that started so. Raises AgentError where it has none of its own.

        Calls of two starts with one epoch could get the same ids: such an Asterisk is not served.
        """
        epoch, (known, known_started) = read_epoch(self._settings.directory), self._known_start()
        if epoch == known and known_started and started != known_started:
            raise AgentError(
                f"Asterisk has started anew ({started}, before: {known_started}) without an epoch of its own: it must "
                f"be started by `streamco`, which issues one ({self._settings.directory / 'epoch'} still says {epoch})"
            )
        if epoch < known:
            raise AgentError(f"{self._settings.directory / 'epoch'}: {epoch} is older than {known}, which was used")
        # An epoch that was issued while the same Asterisk goes on is that of a start which has failed.
        return known if started and started == known_started else epoch

    async def _heartbeat(self, session: AmiSession, started: str) -> None:
        """Ask for the status, and tell Kafka and PostgreSQL of it."""
        asked_at_ms = _now_ms()
        epoch = self._epoch(started)
        asked_monotonic_ms = _monotonic_ms()
        pong = await session.ask({"Action": "Ping"})
        monotonic_ms, node_clock_ms = _monotonic_ms(), stamp_ms(pong[0].get("timestamp"), asked_at_ms)
        self._clock_said(node_clock_ms, monotonic_ms, asked_monotonic_ms)
        asked_for = {"Variables": ",".join(FACTS_VARIABLES)} if self._counters.unheld else {}
        answer = await session.ask({"Action": "Status", **asked_for})
        if not answer[0].success:
            raise AmiError(f"AMI refuses Status: {answer[0].get('message', '')}")
        if self._last is None:
            self._last = self._before_this_agent(epoch)
        heard = self._answers
        seen = fold_status(self._settings.node, status_channels(answer), self._last, heard, monotonic_ms)
        self._last = seen
        # What was answered behind the status is for the next one.
        self._answers = {call: at_ms for call, at_ms in heard.items() if at_ms >= asked_monotonic_ms}
        self._cuts.seen(seen)
        self._announce(epoch, started, frozenset(call.call_id for call in seen.calls), asked_at_ms)
        await asyncio.to_thread(self._keep, epoch, node_clock_ms, seen, heard)
        # A call's moment of admission is one of its node's clock: what is too young for this status is judged by it.
        self._counters.seen(seen, epoch, node_clock_ms)
        self._put(self._beat(seen, epoch, asked_at_ms))

    def _beat(self, seen: Seen, epoch: int, at_ms: int) -> NodeHeartbeat:
        if len(seen.calls) > MAX_HEARTBEAT_CALLS:
            log.error("more calls than a heartbeat can hold", calls=len(seen.calls), limit=MAX_HEARTBEAT_CALLS)
            LISTED.lose(len(seen.calls) - MAX_HEARTBEAT_CALLS)
        self._listed = min(len(seen.calls), MAX_HEARTBEAT_CALLS)
        offset, waiting = self._journal()
        node = self._settings.node
        return NodeHeartbeat(
            event_id=f"{node}:{at_ms}:node_heartbeat",
            node=node,
            epoch=epoch,
            at_ms=at_ms,
            agent_id=self._agent_id,
            journal_offset=offset,
            journal_waiting_bytes=waiting,
            calls=seen.calls[:MAX_HEARTBEAT_CALLS],
        )

    def _before_this_agent(self, epoch: int) -> Seen | None:
        """The last status of the agent before this one, for the talk of the calls that are up since then."""
        kept = load_heartbeat(self._settings.directory, epoch)
        if kept is None or kept.monotonic_ms > _monotonic_ms():  # the machine has started anew
            return None
        answered = {call: talk.monotonic_ms for call, talk in kept.calls.items() if talk is not None}
        unanswered = {call: kept.monotonic_ms for call, talk in kept.calls.items() if talk is None}
        return Seen(kept.monotonic_ms, [], {}, answered, unanswered, {})

    def _keep(self, epoch: int, at_ms: int, seen: Seen, heard: Mapping[str, int]) -> None:
        """Keep the heartbeat on disk, for the closing of its calls should Asterisk crash now."""
        if not epoch:
            return
        directory = self._settings.directory
        if self._kept is None or self._kept.epoch != epoch:
            self._kept = load_heartbeat(directory, epoch)
        self._kept = next_heartbeat(self._kept, epoch, at_ms, seen.at_ms, seen.calls, heard)
        try:
            store_heartbeat(directory, self._kept)
        except OSError as error:
            if not is_full(error):
                raise
            # Should Asterisk crash now, its calls are closed at the last heartbeat that was kept.
            log.error("the heartbeat is not kept: the disk is full", error=str(error))  # noqa: TRY400

    def _announce(self, epoch: int, started: str, alive: frozenset[str], at_ms: int) -> None:
        """A start that Kafka has not been told of is told of."""
        node = self._settings.node
        known, known_started = self._known_start()
        if not epoch or (epoch == known and started == known_started):
            return
        event = None
        if epoch != known:
            log.info("Asterisk has started anew", node=node, epoch=epoch, previous_epoch=known, started=started)
            event = NodeRestarted(
                event_id=f"{node}:{epoch}:node_restarted", node=node, epoch=epoch, previous_epoch=known, at_ms=at_ms
            )
        self._begin(NewStart(event, epoch, started, alive))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _unless_closed(
    loop: asyncio.AbstractEventLoop, call: Callable[[Mapping[str, int]], None], unpaid: Mapping[str, int]
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, unpaid)
