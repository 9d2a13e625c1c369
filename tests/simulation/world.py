"""All of it together: the servers, two nodes with their agents, two routers, the stream workers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka.errors import KafkaError

from agent.state_file import AgentError
from schemas.topics import CALLS, DEAD_LETTERS, RATED_LEGS
from simulator.lines import Line
from sinks.dead_letters.store import TooManyDeadLettersError
from tests.simulation import setting
from tests.simulation.agents import Agent
from tests.simulation.asterisk import Asterisk
from tests.simulation.broker import Broker, Group
from tests.simulation.clickhouse import ClickHouse
from tests.simulation.clock import Host, Process
from tests.simulation.database import Database
from tests.simulation.disk import Disk
from tests.simulation.plan import NODES, CallPlan, Plan
from tests.simulation.roles import Billing, Cdrs, Live
from tests.simulation.routers import Router
from tests.simulation.workers import Worker

ROUTERS: Final = 2


class World(Host):
    """A world for one plan. Nothing has happened yet."""

    # What a process of the product may end by: it is crash-only, and its supervisor starts it again.
    expected_errors = (psycopg.Error, KafkaError, ClickHouseError, OSError, AgentError, TooManyDeadLettersError)

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.generation = 0
        self.injected: list[bytes] = []
        self.ever_held: set[str] = set()
        self.lines: list[tuple[Line, bytes]] = []
        self.broker = Broker(self)
        self.database = Database(self, self._true_wall_ms)
        setting.fill(self.database.tables, plan.config.balance_micros)
        self.clickhouse = ClickHouse(self)
        self.servers: Mapping[str, Any] = {
            "kafka": self.broker, "postgres": self.database, "clickhouse": self.clickhouse
        }  # fmt: skip
        self.routers = [
            Router(self, number, self.broker, self.database, lambda: self.generation) for number in range(ROUTERS)
        ]
        self.nodes = [self._node(number) for number in range(NODES)]
        self.agents = [
            Agent(self, node, self.broker, self.database, plan.config.batch_bytes) for node in self.nodes
        ]  # fmt: skip
        self.groups = {
            "billing": Group(self.broker, (CALLS.name, RATED_LEGS.name, DEAD_LETTERS.name), plan.config.workers),
            "cdrs": Group(self.broker, (RATED_LEGS.name,), 1),
            "live": Group(self.broker, (CALLS.name,), 1),
        }
        self.changelog: dict[bytes, bytes] = {}
        self.workers: list[Worker] = [self._worker(Billing, "billing", number) for number in range(plan.config.workers)]
        self.workers += [self._worker(Cdrs, "cdrs", 0), self._worker(Live, "live", 0)]
        self.operator = Process(self, "operator")
        self.processes: dict[str, Process] = {
            process.name: process for process in (*self.agents, *self.routers, *self.workers)
        }
        for role, group in self.groups.items():
            self._connect(role, group)

    def _true_wall_ms(self) -> int:
        return setting.START_MS + self.clock.now_ms

    def wall_ms(self) -> int:
        """The wall clock of the machine that the running process is on."""
        node = self._node_of_running()
        return self._true_wall_ms() if node is None else node.wall_ms()

    def disk(self) -> Disk:
        """The disk of the machine that the running process is on."""
        node = self._node_of_running()
        if node is None:
            raise AssertionError("only node agents use a disk")
        return node.disk

    def _node_of_running(self) -> Asterisk | None:
        name = self.running.name if self.running is not None else ""
        return self.nodes[int(name[6:])] if name.startswith("agent-") else None

    def _node(self, number: int) -> Asterisk:
        disk = Disk(self.effect, lambda: node.wall_ms() * 1_000_000)
        node = Asterisk(self, disk, number, self.routers[number % ROUTERS].ask, self._line)
        return node

    def _line(self, line: Line, raw: bytes) -> None:
        self.lines.append((line, raw))

    def _worker(self, kind: type[Worker], role: str, number: int) -> Worker:
        worker = kind(self, role, number, self.groups[role], self.broker, self.plan.config.batch_messages)
        if isinstance(worker, Billing):
            worker.database = self.database
        elif isinstance(worker, Cdrs):
            worker.clickhouse = self.clickhouse
        elif isinstance(worker, Live):
            worker.changelog = self.changelog
        return worker

    def _connect(self, role: str, group: Group) -> None:
        members = {worker.number: worker for worker in self.workers if worker.name.startswith(role)}

        def assigned() -> None:
            self.note("rebalance", role, group.generation, tuple(sorted(group.members)))
            for worker in members.values():
                worker.assigned()

        def message(member: int, place: Any) -> None:
            if members[member].is_alive:
                members[member].message(place)

        group.on_assigned, group.on_message = assigned, message

    def begin(self, carry_out: Callable[["World", Any], None]) -> None:
        """Everything is started, and the plan's elements wait for their moments."""
        for group in self.groups.values():
            group.rebalance()
        for node in self.nodes:
            node.start()
        for process in self.processes.values():
            process.start()
        for element in self.plan.elements:
            if isinstance(element, CallPlan):
                self.clock.at(element.at_ms, lambda call=element: self.nodes[call.node].invite(call))  # type: ignore[misc]
            else:
                self.clock.at(element.at_ms, lambda step=element: carry_out(self, step))  # type: ignore[misc]

    def heal(self) -> None:
        """No more faults: what is away comes back, what is dead is started again by its supervisor."""
        self.note("healed")
        for process in self.processes.values():
            process.disarm()
        for server in self.servers.values():
            server.heal()
        self.slow_ms.clear()
        for agent, node in zip(self.agents, self.nodes, strict=True):
            agent.is_cut_off = False
            node.ami_away_until_ms = 0
            node.disk.full_until_writes = 0
        self.broker.spoil = lambda _place, value: value

    def is_quiet(self) -> bool:
        """Nothing is on its way any more."""
        if any(not process.is_alive for process in self.processes.values()) or any(node.up for node in self.nodes):
            return False
        if any(group.lag() for group in self.groups.values()):
            return False
        for agent, node in zip(self.agents, self.nodes, strict=True):
            told = (agent.relay.state.epoch, agent.relay.state.started)
            if (
                not node.is_up
                or told != (node.epoch, node.started)
                or agent.relay.journal_waiting_bytes > node.torn_bytes()
            ):
                return False
        return True
