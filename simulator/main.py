"""The simulator's process: fake Asterisk nodes with customers and vendors, in front of the real router.

It ends after the settings' seconds or at SIGTERM: no new call, those in progress hung up and journalled, a summary of
the run as one line of JSON on stdout.
"""

import asyncio
import json
import signal
import sys

import psycopg
import structlog
import uvloop

from simulator.crashes import Host
from simulator.incidents import KINDS, IncidentError
from simulator.node import Node
from simulator.node_files import Journal
from simulator.scheduler import Clock, Scheduler, real_ms
from simulator.settings import SimulatorSettings
from simulator.simulation import Simulation
from simulator.traffic import Traffic
from simulator.vendors import Vendors
from simulator.world import World, read_world

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 10


def run(settings: SimulatorSettings) -> None:
    """Play the nodes until the end.

    Raises what keeps it from its work: SimulatorError, WorldError, IncidentError, NodeFilesError, EpochError,
    psycopg.Error.
    """
    start_ms = start_of(settings)
    world = _read(settings, start_ms / 1_000)
    check_targets(settings, world)
    summary = uvloop.run(simulate(settings, world, start_ms))
    sys.stdout.write(json.dumps(summary, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def start_of(settings: SimulatorSettings) -> int:
    """Where the simulator's clock begins (unix ms): now, or so far back that back-filling ends at the present."""
    back_ms = 0.0 if settings.seconds is None else settings.seconds * 1_000 * (1 - 1 / settings.speedup)
    return int(real_ms() - back_ms)


async def simulate(settings: SimulatorSettings, world: World, start_ms: int) -> dict[str, object]:
    """One run in this event loop, until its end, SIGTERM or SIGINT; the summary of it."""
    scheduler = Scheduler(Clock(start_ms, settings.speedup, real_ms))
    traffic = Traffic(
        world,
        seed=settings.seed,
        cps=settings.cps,
        start_ms=start_ms,
        profile=settings.profile,
        talk_seconds=settings.talk_seconds,
        incidents=settings.incidents,
    )
    vendors = Vendors(settings.seed, world.vendors)
    host = Host(settings, scheduler)
    simulation = Simulation(
        settings, traffic=traffic, vendors=vendors, scheduler=scheduler, start_ms=start_ms, host=host
    )
    loop = asyncio.get_running_loop()
    try:
        for node in settings.nodes:
            simulation.nodes[node.name] = await _start_node(node.name, host, simulation, scheduler, start_ms)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, simulation.stop)
        log.info("simulator started", nodes=list(simulation.nodes), cps=settings.cps, customers=len(world.customers))
        await simulation.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        for fake in simulation.nodes.values():
            await host.close_ami(fake)
            fake.close()
    summary = simulation.summary()
    log.info("simulator ended", **summary)
    return summary


async def _start_node(name: str, host: Host, simulation: Simulation, scheduler: Scheduler, start_ms: int) -> Node:
    fake = Node(
        name,
        host.issue_epoch(name),
        journal_file=Journal(host.directory_of(name)),
        scheduler=scheduler,
        observe=simulation.observe,
    )
    await host.open_ami(fake)
    return fake


def _read(settings: SimulatorSettings, at_seconds: float) -> World:
    dsn = settings.postgres.dsn.get_secret_value()
    with psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS, application_name="streamco simulator") as connection:
        return read_world(connection, [node.name for node in settings.nodes], at_seconds, settings.seed)


def check_targets(settings: SimulatorSettings, world: World) -> None:
    """An incident that strikes nobody is a mistake in the settings. Raises IncidentError."""
    known = {
        "vendor": set(world.vendors.values()),
        "customer": {customer.name for customer in world.customers},
        "node": {node.name for node in settings.nodes},
    }
    for incident in settings.incidents:
        names = known.get(KINDS[incident.kind].target)
        if incident.target and names is not None and incident.target not in names:
            kind = KINDS[incident.kind].target
            raise IncidentError(f"incident {incident.kind}: no {kind} {incident.target!r}; there are: {_some(names)}")


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:12]) + (" …" if len(names) > 12 else "")
