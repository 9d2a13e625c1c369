"""A router: the real decision, admission and answer; its lines to PostgreSQL are the fake database's, and its spool of
decisions is a list: a batch that was never sent goes with its process, what Kafka did not take is on its disk.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka.errors import KafkaError

from router.core import Request, World, decide
from router.server.admission import Admission
from router.server.answer import Answer, Attempt, call_facts, routed_json, variables
from router.server.overload import Line
from router.settings import RouterSettings
from schemas.frame import pack_frames, partition_of
from schemas.topics import DECISIONS
from sinks.holds import ADMIT_ONCE
from tests.simulation.broker import PARTITIONS, Broker
from tests.simulation.clock import Host, Process
from tests.simulation.database import Database
from tests.simulation.plan import CallPlan
from tests.simulation.setting import START_MS, snapshot

DEADLINE_MS = 2_000
_SEND_MS = 100
_RETRY_MS = 1_000


class FakeLines:
    """What Admission uses of router/server/statement_pool.py: the same statement and values, on the fake database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, values: Sequence[str], _seconds: float) -> tuple[str | None, ...]:
        """The row, as texts."""
        connection = await self._database.connect(autocommit=True)
        row = await (await connection.execute(ADMIT_ONCE, list(values))).fetchone()
        return tuple(None if value is None else str(value) for value in row or ())


class Router(Process):
    """One of the routers."""

    def __init__(
        self, host: Host, number: int, broker: Broker, database: Database, generation: Callable[[], int]
    ) -> None:
        super().__init__(host, f"router-{number}")
        self._broker, self._database, self._generation = broker, database, generation
        self._spooled: list[tuple[str, bytes]] = []
        settings = RouterSettings.model_construct(hold_seconds=10, hold_grace_seconds=15)
        self._admission: Any = object.__new__(Admission)
        self._admission._settings = settings
        self._admission._lines = FakeLines(database)
        self._admission.line = Line(settings.most_wait_seconds)

    def ask(
        self, call_id: str, address: str, plan: CallPlan, started_ms: int,
        answer: Callable[[Mapping[str, str] | None], None],
    ) -> None:  # fmt: skip
        """An AGI session: answered by variables, or by nothing at the deadline, or at once where nobody listens."""
        if not self.is_alive:
            self.host.clock.after(1, lambda: answer(None))
            return
        self.host.clock.after(DEADLINE_MS, lambda: answer(None))
        self._sessions.append(answer)
        self.later(2, lambda: self.spawn(self._route(call_id, address, plan, started_ms, answer)))

    def begin(self) -> None:
        """No sessions yet, and what waits on its disk is sent."""
        self._fresh: list[tuple[str, bytes]] = []
        self._is_send_due = False
        self._decided(0)
        self._sessions: list[Callable[[Mapping[str, str] | None], None]] = []

    def ended(self) -> None:
        """Its sessions end with it."""
        for answer in self._sessions:
            self.host.clock.after(1, lambda answer=answer: answer(None))  # type: ignore[misc]

    async def _route(
        self, call_id: str, address: str, plan: CallPlan, started_ms: int,
        answer: Callable[[Mapping[str, str] | None], None],
    ) -> None:  # fmt: skip
        request = Request("c", address, plan.callee, "4930123456")
        decision = decide(World(snapshot(self._generation())), request, 0, expected_seconds=180)
        facts = call_facts(decision)
        if decision.refusal is None:
            answered = await self._admission.ask(decision, facts, call_id, started_ms)
        else:
            answered = Answer(decision, decision.refusal, 0, 0)
        attempt = Attempt(call_id, started_ms, START_MS + self.host.clock.now_ms, 0)
        self._fresh.append((call_id, routed_json(answered, attempt)))
        self._decided(_SEND_MS)
        self.host.effect()
        self._sessions.remove(answer)
        answer(dict(variables(answered, facts)))

    def _decided(self, ms: int) -> None:
        if not self._is_send_due and (self._fresh or self._spooled):
            self._is_send_due = True
            self.later(ms, self._send)

    def _send(self) -> None:
        self._is_send_due = False
        self._spooled += self._fresh
        self._fresh = []
        while self._spooled:
            call_id, event = self._spooled[0]
            try:
                self._broker.append(DECISIONS.name, partition_of(call_id, PARTITIONS), pack_frames([event])[0])
            except KafkaError:
                self._decided(_RETRY_MS)
                return
            self._spooled.pop(0)
