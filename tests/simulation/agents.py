"""A node agent: the real relay, watch and counters over the fake disk, broker, manager and database.

What main.py does with threads and an event loop is done here step by step: a round of the relay when the journal has
grown (and now and then without), a heartbeat every few seconds, the counters when they are woken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kafka.errors import KafkaError

from agent.ami.client import AmiError
from agent.clock import NodeClock
from agent.counters import Counters
from agent.outbox import Message
from agent.relay import Relay
from agent.sender import KafkaAwayError
from agent.settings import AgentSettings
from agent.state_file import AgentError
from agent.watch import Watch
from runtime.connections import Kafka
from tests.simulation.asterisk import Asterisk
from tests.simulation.broker import PARTITIONS, Broker
from tests.simulation.clock import Host, Process
from tests.simulation.database import Database

HEARTBEAT_MS: Final = 5_000
_POLL_MS: Final = 50
_IDLE_POLL_MS: Final = 3_000  # production polls always; here only a look now and then, beside every wake
_RETRY_MS: Final = 1_000
_CLOCK_MS: Final = 1_000


class Answer(dict[str, Any]):
    """A message of the manager."""

    success = True


class Session:
    """What Watch uses of an AmiSession."""

    def __init__(self, host: Host, node: Asterisk) -> None:
        self._host, self._node, self._boot = host, node, node.started

    def is_there(self) -> bool:
        """Whether the connection stands."""
        node = self._node
        return node.is_up and node.started == self._boot and node.ami_away_until_ms <= self._host.clock.now_ms

    async def ask(self, action: dict[str, str]) -> list[Answer]:
        """See AmiSession."""
        await self._host.pause()
        self._host.effect()
        if not self.is_there():
            raise AmiError("AMI is gone")
        node, answer = self._node, Answer()
        if action["Action"] == "Ping":
            answer["timestamp"] = f"{node.wall_ms() // 1000}.{node.wall_ms() % 1000:03d}000"
        elif action["Action"] == "CoreStatus":
            answer["corestartupdate"] = node.started
        elif action["Action"] == "Hangup":
            answer.success = node.hang_up(action["Channel"], int(action["Cause"]))
        else:
            return [answer, *(Answer(channel) for channel in node.status())]
        return [answer]


class Sender:
    """What Relay sends by."""

    def __init__(self, broker: Broker, is_cut_off: Callable[[], bool]) -> None:
        self._broker, self._is_cut_off = broker, is_cut_off

    def send(self, messages: Sequence[Message]) -> None:
        """See agent.sender.Sender: one that fails says nothing of the others."""
        if self._broker.is_away or self._is_cut_off():
            raise KafkaAwayError("away")
        failed: KafkaError | None = None
        for message in messages:
            try:
                self._broker.append(message.topic, message.partition, message.value)
            except KafkaError as error:
                failed = error
        if failed is not None:
            raise KafkaAwayError(repr(failed)) from failed

    def close(self) -> None:
        """Nothing to let go."""


class Stop:
    """A threading.Event that is never set and never waited for."""

    def is_set(self) -> bool:
        """No."""
        return False

    def wait(self, _seconds: float) -> bool:
        """At once."""
        return False


class Agent(Process):
    """One node's agent."""

    def __init__(self, host: Host, node: Asterisk, broker: Broker, database: Database, batch_bytes: int) -> None:
        super().__init__(host, f"agent-{node.number}")
        self._node, self._broker, self._database = node, broker, database
        self._settings = AgentSettings.model_construct(
            node=node.name, directory=node.disk.path(f"/{node.name}"),
            kafka=Kafka(bootstrap="none:1", partitions=PARTITIONS), batch_bytes=batch_bytes,
            sweep_seconds=10.0, gone_seconds=20.0,
        )  # fmt: skip
        self.is_cut_off = False
        self.session: Session | None = None
        self._relay_due = False
        self._counters_due = False
        node.on_journal = self._journal_grew
        node.on_gone = self._ami_lost

    def begin(self) -> None:
        """As main.py."""
        self._relay_due = self._counters_due = False
        self.session = None
        self.clock = NodeClock(self._settings.directory)
        self.relay = Relay(
            self._settings, Sender(self._broker, lambda: self.is_cut_off), clock=lambda: self.clock.read()
        )
        self.counters = Counters(self._settings, f"host-{self.name}")
        self.counters._connect = self._database.connect_now  # type: ignore[method-assign,assignment]
        self.watch = Watch(
            self._settings, self.counters, agent_id=f"host-{self.name}", put=self._put,
            journal=lambda: (self.relay.journal_offset, self.relay.journal_waiting_bytes), begin=self._begin,
            known_start=lambda: self.relay.known_start, clock_said=self.clock.asterisk_says,
        )  # fmt: skip
        self.counters.on_unpaid = self._unpaid
        self.counters.on_closed = self._closed
        self._wake_relay(0)
        self.later(_IDLE_POLL_MS, self._idle_poll)
        self.later(20, self._connect)
        self._read_clock()

    def ended(self) -> None:
        """Its connections are gone with it."""
        self._node.on_ami = None
        self.session = None

    def _read_clock(self) -> None:
        self.clock.read()
        self.later(_CLOCK_MS, self._read_clock)

    # --- the relay

    def _put(self, event: Any) -> None:
        self.relay.put(event)
        self._wake_relay(_POLL_MS)

    def _begin(self, start: Any) -> None:
        self.relay.begin(start)
        self._wake_relay(_POLL_MS)

    def _closed(self, ended: Any) -> None:
        self.relay.close(ended)
        self._wake_relay(_POLL_MS)

    def _journal_grew(self) -> None:
        if self.is_alive:
            self._wake_relay(_POLL_MS)

    def _idle_poll(self) -> None:
        self._wake_relay(0)
        self.later(_IDLE_POLL_MS, self._idle_poll)

    def _wake_relay(self, ms: int) -> None:
        if not self._relay_due:
            self._relay_due = True
            self.later(ms, self._round)

    def _round(self) -> None:
        self._relay_due = False
        before = self.relay.state
        try:
            more = self.relay.round()
        except KafkaAwayError as error:
            self.relay._kafka_away(error)
            self._wake_relay(_RETRY_MS)
            return
        if more or before != self.relay.state or self.relay._restart is not None:
            self._wake_relay(1 if more else _POLL_MS)

    # --- AMI

    def _connect(self) -> None:
        session = Session(self.host, self._node)
        if not session.is_there() or self.is_cut_off:
            self.later(_RETRY_MS, self._connect)
            return
        self.session = session
        self._node.on_ami = self._event
        self._event({"event": "FullyBooted"})
        self.spawn(self._serve(session))
        self.spawn(self._cut(session))

    def _event(self, headers: Mapping[str, Any]) -> None:
        self.enter(lambda: self.watch._event(headers))
        if self.is_alive and self.frozen_until_ms <= self.host.clock.now_ms:
            self._wake_counters(10)

    def _ami_lost(self) -> None:
        self._node.on_ami = None

    async def _serve(self, session: Session) -> None:
        try:
            started = await self.watch._started(session)  # type: ignore[arg-type]
            while self.session is session:
                await self.watch._heartbeat(session, started)  # type: ignore[arg-type]
                self._wake_counters(1)
                await self.host.pause(HEARTBEAT_MS)
        except (AmiError, AgentError) as error:
            self._lose(session, error)

    async def _cut(self, session: Session) -> None:
        try:
            await self.watch._cut(session)  # type: ignore[arg-type]
        except (AmiError, AgentError) as error:
            self._lose(session, error)

    def _lose(self, session: Session, error: Exception) -> None:
        if self.session is session:
            self.host.note("ami lost", self.name, str(error)[:60])
            self.session = None
            self._node.on_ami = None
            self.later(_RETRY_MS, self._connect)

    # --- the counters

    def _unpaid(self, unpaid: Mapping[str, int]) -> None:
        self.watch._unpaid(unpaid)

    def _wake_counters(self, ms: int) -> None:
        if not self._counters_due and self.counters._wake.is_set():
            self._counters_due = True
            self.later(ms, self._count)

    def _count(self) -> None:
        self._counters_due = False
        self.counters._wake.clear()
        self.counters._round(Stop())  # type: ignore[arg-type]
        self._wake_counters(_RETRY_MS)
