"""A history: a plan carried out, healed, drained and judged."""

import hashlib
from typing import Any, Final, NamedTuple

from schemas.events import RatedLeg
from schemas.topics import RATED_LEGS
from sinks.audit.continuous.calls import NOT_UP
from tests.simulation.admitted import events_of
from tests.simulation.faults import carry_out, open_account, replay
from tests.simulation.oracle import judge
from tests.simulation.patches import patched
from tests.simulation.plan import LAST_FAULT_MS, Plan
from tests.simulation.watcher import Watcher
from tests.simulation.world import World

HEAL_MS: Final = LAST_FAULT_MS + 5_000
LOOK_MS: Final = 5_000
LOOKS: Final = 4
LIMIT_MS: Final = 420_000  # everything is drained long before
HOLDS_LIMIT_MS: Final = 1_200_000  # a hold that was placed late expires a quarter of an hour after the longest call


class History(NamedTuple):
    """What came of a plan."""

    plan: Plan
    failures: list[tuple[str, str]]
    trace: list[tuple[Any, ...]]
    digest: str
    legs: int
    bites: dict[str, int]  # what the faults came to: so that it is seen that they did
    steps: int


def run(plan: Plan) -> History:
    """Carry a plan out."""
    world = World(plan)
    Watcher(world)
    with patched(world, world.database, world.disk, world.wall_ms):
        world.begin(carry_out)
        world.clock.run(HEAL_MS)
        world.heal()
        if any(element.kind == "open_account" for element in plan.elements):
            open_account(world)
            replay(world)
        failures = world.failures or _drain(world)
    tables = world.database.tables
    digest = hashlib.sha256(repr((world.trace, sorted(tables.entries.items()), tables.balance)).encode()).hexdigest()
    return History(plan, failures, world.trace, digest[:16], len(tables.references), _bites(world), world.clock.steps)


def _bites(world: World) -> dict[str, int]:
    tables = world.database.tables
    rated = [event for _, event in events_of(world, RATED_LEGS.name) if isinstance(event, RatedLeg)]
    starts = sum(what[1] == "start" for what in world.trace)
    return {
        "calls": len({event.ended.call_id for event in rated}),
        "legs": len({event.leg_id for event in rated}),
        "rated again": len(rated) - len({event.event_id for event in rated}),
        "posted again": tables.repeats,
        "CDRs again": world.clickhouse.repeats,
        "estimates dropped": world.clickhouse.dropped,
        "estimated": sum(event.ended.estimated for event in {event.leg_id: event for event in rated}.values()),
        "corrections": sum(entry.kind == "correction" for entry in tables.entries.values()),
        "cut": sum("BALANCE" in line.values.get("reason", "") for line, _ in world.lines),
        "refused": sum(bool(line.values.get("reason")) for line, _ in world.lines),
        "swept": len(tables.swept),
        "dead letters": len(tables.letters),
        "letters waited": tables.ever_waited,
        "replayed": sum(letter.state == "replayed" for letter in tables.letters.values()),
        "starts again": starts - len(world.processes),
        "rebalances": sum(group.generation - 1 for group in world.groups.values()),
        "vanished": sum(len(node.vanished) for node in world.nodes),
        **{name: world.bites[name] for name in _FAULTS},
    }


_FAULTS: Final = (
    "kills", "kills within a transaction", "zombies", "commits fenced off", "requests refused", "answers lost"
)  # fmt: skip


def _drain(world: World) -> list[tuple[str, str]]:
    """Let it come to rest, and judge it: once it is quiet, and a few more times if it is not well."""
    found: list[tuple[str, str]] = []
    looks = 0
    # A hold of a dead call is judged by its node's clock: one that was set back comes to it so much later.
    set_back_ms = max(-offset for node in world.nodes for _, offset in node.offsets)
    holds_limit_ms = HOLDS_LIMIT_MS + set_back_ms
    while world.clock.now_ms < LIMIT_MS or (_only_holds(found) and world.clock.now_ms < holds_limit_ms):
        world.clock.run(world.clock.now_ms + LOOK_MS)
        if world.failures:
            return world.failures
        if not world.is_quiet() or (_only_holds(found) and world.database.tables.holds):
            continue
        found = judge(world)
        looks += not _only_holds(found)
        if not found or looks > LOOKS:
            return found
    return found or [("not drained", _why_not(world)), *judge(world)]


def _only_holds(found: list[tuple[str, str]]) -> bool:
    return bool(found) and all(kind in _OF_HOLDS for kind, _ in found)


_OF_HOLDS: Final = (NOT_UP, "hold left that the audit does not name", "hold left", "held left", "calls counted")


def _why_not(world: World) -> str:
    dead = [process.name for process in world.processes.values() if not process.is_alive]
    lags = {role: group.lag() for role, group in world.groups.items()}
    epochs = [(agent.relay.state.epoch, node.epoch, agent.relay.journal_waiting_bytes)
              for agent, node in zip(world.agents, world.nodes, strict=True)]  # fmt: skip
    return f"dead {dead}, lag {lags}, epochs {epochs}, up {[len(node.up) for node in world.nodes]}"
