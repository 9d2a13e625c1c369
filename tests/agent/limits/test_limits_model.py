"""Nodes share a limit: whatever is lost, cut off or late on the way, together they never have more than the limit.

The agents' own rounds, on the real PostgreSQL's function and on fake nodes that keep the dialplan's rules. Between any
two of an agent's questions calls begin and end, and other nodes have rounds of their own.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr
from small_world import make_small_world

from agent.ami.client import AmiError, AmiSession
from agent.limits.limits import Limits
from agent.settings import AgentSettings
from runtime.connections import Kafka, Postgres
from simulator.limits import NodeLimits

pytestmark = pytest.mark.servers
NODES = ("ast1", "ast2", "ast3")
NODE = st.sampled_from(NODES)
LEASE_SECONDS, SILENT_SECONDS = 6.0, 9.0
# What happens while an agent asks: calls that begin or end, a round of another node.
MEANWHILE = st.lists(st.tuples(st.sampled_from(["begin", "begin", "begin", "end", "round"]), NODE), max_size=6)


class Answer(dict[str, str]):
    """As panoramisk's message."""

    success = True


class Session:
    """AMI of a fake node. After `cut` questions it is gone."""

    def __init__(self, limits: NodeLimits, meanwhile: Callable[[], None], cut: int) -> None:
        self._limits = limits
        self._meanwhile = meanwhile
        self._left = cut

    async def ask(self, action: dict[str, str]) -> list[Answer]:
        self._meanwhile()
        if self._left == 0:
            raise AmiError("gone")
        self._left -= 1
        if action["Action"] == "Setvar":
            assert self._limits.set(action["Variable"], action["Value"])
            return [Answer()]
        value = self._limits.get(action["Variable"])
        assert value is not None, action
        return [Answer(value=value)]


class Fake:
    """A node: its Asterisk, its agent, its calls."""

    def __init__(self, agent: Limits, limits: NodeLimits) -> None:
        self.agent = agent
        self.limits = limits
        self.calls: list[str] = []
        self.until = ""
        self.knows = False  # the agent knows what Asterisk was told
        self.rounded_at = 0.0
        self.busy = False


class Machine(RuleBasedStateMachine):
    """The steps. `dsn`, `world` and `directory` are the test's own."""

    dsn: str
    key: str
    directory: Path
    connection: psycopg.Connection[Any]
    # What was shown at all: a run in which nothing is ever refused or granted shows nothing.
    seen: ClassVar[Counter[str]] = Counter()

    @initialize(limit=st.integers(1, 5), cps=st.sampled_from([0, 0, 1, 2, 5]))
    def begin(self, limit: int, cps: int) -> None:
        self.limit, self.cps = limit, cps
        self.now = 1_000_000.0
        self.number = 0
        self.admitted: Counter[int] = Counter()  # by second
        execute = self.connection.execute
        execute("DELETE FROM limit_nodes")
        execute("UPDATE peers SET max_concurrent = %s, max_cps = %s WHERE role = 'terminator'", (limit, cps))
        for node in NODES:
            execute(
                "INSERT INTO nodes (name, agent_id) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE"
                " SET agent_id = excluded.agent_id",
                (node, node),
            )
        self.nodes = {node: Fake(self.agent(node), NodeLimits(lambda: self.now)) for node in NODES}
        self.plan: list[tuple[str, str]] = []
        for _ in range(3):
            self.pass_time(1.0)
            for node in NODES:
                self.round_of(node, 1_000)

    def agent(self, node: str) -> Limits:
        agent_settings = AgentSettings(
            node=node, directory=self.directory, kafka=Kafka(bootstrap="127.0.0.1:9"),
            postgres=Postgres(dsn=SecretStr(self.dsn)), ami_secret=SecretStr("secret"),
            limits_lease_seconds=LEASE_SECONDS, limits_silent_seconds=SILENT_SECONDS,
        )  # fmt: skip
        agent = Limits(agent_settings, node, lambda: self.now)
        agent._ask = lambda statement, values: self.connection.execute(statement, values).fetchall()  # type: ignore[method-assign, arg-type]
        return agent

    # ---- what happens

    def begin_call(self, name: str) -> None:
        node = self.nodes[name]
        self.number += 1
        call = f"{name}-{self.number}"
        if not node.limits.take(call, [self.key], int(self.now * 1000)):
            self.seen["refused"] += 1
            return
        node.calls.append(call)
        self.admitted[int(self.now)] += 1
        self.seen[name] += 1
        up = sum(len(one.calls) for one in self.nodes.values())
        assert up <= self.limit, f"{up} calls of {self.limit}"
        assert not self.cps or self.admitted[int(self.now)] <= self.cps, "calls per second"

    def end_call(self, name: str) -> None:
        node = self.nodes[name]
        if node.calls:
            node.limits.take(node.calls.pop(0), [], int(self.now * 1000))

    def meanwhile(self) -> None:
        if self.plan:
            what, name = self.plan.pop(0)
            if what == "begin":
                self.begin_call(name)
            elif what == "end":
                self.end_call(name)
            elif not self.nodes[name].busy:
                self.round_of(name, 1_000)

    def round_of(self, name: str, cut: int) -> None:
        node = self.nodes[name]
        session = cast(AmiSession, Session(node.limits, self.meanwhile, cut))
        node.busy = True
        coroutine = self.rounds(node, session)
        try:  # by hand: a round within a round has no event loop of its own
            while True:
                coroutine.send(None)
        except StopIteration:
            node.rounded_at = self.now
        except AmiError:
            node.knows = False
        finally:
            node.busy = False

    async def rounds(self, node: Fake, session: AmiSession) -> None:
        if not node.knows:
            await node.agent.take_over(session)
            node.knows, node.until = True, ""
        node.until = await node.agent.round(session, node.until)

    # ---- steps

    @rule(name=NODE, count=st.integers(1, 4))
    def calls_begin(self, name: str, count: int) -> None:
        for _ in range(count):
            self.begin_call(name)

    @rule(name=NODE)
    def call_ends(self, name: str) -> None:
        self.end_call(name)

    @rule(name=NODE, plan=MEANWHILE, cut=st.sampled_from([1_000, 1_000, 1_000, 0, 1, 2, 3, 4, 5, 6]))
    def round(self, name: str, plan: list[tuple[str, str]], cut: int) -> None:
        self.plan = plan
        # A whole second after the node's last one, as the agent itself waits.
        if self.nodes[name].rounded_at + 1 > self.now:
            self.pass_time(1.0)
        self.round_of(name, cut)
        self.plan = []

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5, 5.0, 8.0]), plan=MEANWHILE)
    def time_passes(self, seconds: float, plan: list[tuple[str, str]]) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.connection.execute(
            "UPDATE limit_nodes SET reported_at = reported_at - make_interval(secs => %s)", (seconds,)
        )
        # Who is silent for so long is dead with all its calls, or its calls are known to nobody.
        silent = self.connection.execute(
            "SELECT node FROM limit_nodes WHERE reported_at < clock_timestamp() - make_interval(secs => %s)",
            (SILENT_SECONDS - 1,),
        ).fetchall()
        for (name,) in silent:
            while self.nodes[name].calls:
                self.end_call(name)

    @rule(name=NODE)
    def agent_is_killed(self, name: str) -> None:
        node = self.nodes[name]
        node.agent, node.knows = self.agent(name), False

    @rule(name=NODE)
    def asterisk_is_killed(self, name: str) -> None:
        node = self.nodes[name]
        node.limits.clear()
        node.calls, node.knows = [], False

    @rule(wanting=NODE)
    def demand_moves(self, wanting: str) -> None:
        """Nobody but one node wants anything any more: in a few rounds it has all of it, and no call too many."""
        alone = self.nodes[wanting]
        for name in NODES:
            while self.nodes[name].calls:
                self.end_call(name)
        for _ in range(8 + self.limit):
            self.pass_time(1.0)
            for name in NODES:
                self.round_of(name, 1_000)
            self.begin_call(wanting)
        if not self.cps:
            assert len(alone.calls) == self.limit
        self.seen["moved"] += 1

    @invariant()
    def the_database_says_no_more_than_the_limit(self) -> None:
        row = self.connection.execute(
            "SELECT coalesce(sum(concurrent_held), 0), coalesce(sum(cps_held), 0) FROM limit_leases"
        ).fetchone()
        assert row is not None
        if hasattr(self, "limit"):
            assert row[0] <= self.limit
            assert row[1] <= self.cps


@pytest.fixture
def machine(postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Machine]]:
    async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    async def gathered(*coroutines: Any) -> list[Any]:
        try:
            return [await one for one in coroutines]
        finally:
            for one in coroutines:
                one.close()

    monkeypatch.setattr("agent.limits.limits.asyncio", SimpleNamespace(to_thread=at_once, gather=gathered))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        make_small_world(connection)  # type: ignore[arg-type]
        connection.execute("SET synchronous_commit = off")
        row = connection.execute("SELECT 'p' || peer_id FROM peers WHERE role = 'terminator'").fetchone()
        assert row is not None

        class OwnMachine(Machine):
            pass

        OwnMachine.dsn, OwnMachine.key, OwnMachine.directory = postgres_dsn, row[0], tmp_path
        OwnMachine.connection = connection
        yield OwnMachine


def test_nodes_together_never_have_more_than_the_limit(machine: type[Machine]) -> None:
    Machine.seen.clear()
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],  # to make a failure smaller takes minutes on a real PostgreSQL
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert all(Machine.seen[what] for what in (*NODES, "refused", "moved")), Machine.seen
