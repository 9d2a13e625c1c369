"""The node agent's process: the relay, the counters and the journal's audit each in a thread, AMI in the event loop."""

import asyncio
import contextlib
import hashlib
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
import uvloop

from agent.ami.probes import Probes
from agent.ami.reach import Reach
from agent.clock import READ_SECONDS, NodeClock
from agent.counters import Counters
from agent.degraded import Parts, degraded_of
from agent.journal.audit import JournalAudit
from agent.limits.limits import Limits
from agent.relay import Relay
from agent.sender import KafkaSender
from agent.settings import AgentSettings
from agent.state_file import NodeLock
from agent.watch import Watch
from agent.wire.copies import Copies, direction
from agent.wire.legs import Wire
from agent.wire.refusals import EdgeRefusals

log = structlog.get_logger(__name__)
_THREADS: Final = 12  # six stay; the others carry out what AMI's tasks ask of PostgreSQL


def agent_id_of(settings: AgentSettings) -> str:
    """Who this agent is: the same after a restart, another on another machine or for another directory."""
    place = f"{socket.gethostname()}:{settings.directory.resolve()}"
    return f"{socket.gethostname()[:40]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def run(settings: AgentSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentError, OSError: what keeps an agent from its work."""
    lock = NodeLock(settings.directory, settings.node)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(_serve(settings))
    finally:
        lock.release()


async def _serve(settings: AgentSettings) -> None:
    agent_id = agent_id_of(settings)
    counters = Counters(settings, agent_id)
    clock = NodeClock(settings.directory)
    reach, wire = Reach(settings), Wire(direction(settings))
    relay = Relay(
        settings,
        KafkaSender(settings.kafka, settings.send_seconds),
        health=lambda: ", ".join(filter(None, (*(part.health for part in parts), counters.disk.said))),
        clock=clock.read,
        wire=wire,
        degraded=lambda: degraded_of(
            Parts(watch.away, counters.away, limits.health, counters.disk.said, copies.health),
            settings.limits_lease_seconds,
        ),
    )
    refusals = EdgeRefusals(settings, lambda: wire.unheard() if relay.is_caught_up else ())
    copies = Copies(settings, (wire.take, refusals.take))
    journal = JournalAudit(settings, lambda: relay.state, relay.forget)
    watch = Watch(
        settings,
        counters,
        agent_id=agent_id,
        put=relay.put,
        journal=lambda: (relay.journal_offset, relay.journal_waiting_bytes),
        begin=relay.begin,
        known_start=lambda: relay.known_start,
        clock_said=clock.asterisk_says,
        responded=reach.responded,
    )
    counters.on_closed = relay.close
    limits = Limits(settings, agent_id)
    probes = Probes(settings, reach)
    parts = (watch, counters, journal, limits, reach, probes, copies, refusals)
    stop = threading.Event()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # asyncio's own has so many threads as there are processors, and four: those that stay would take them all.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "agent"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    log.info("node agent starts", node=settings.node, directory=str(settings.directory), agent_id=agent_id)
    threads = [
        asyncio.create_task(asyncio.to_thread(relay.run, stop)),
        asyncio.create_task(asyncio.to_thread(counters.run, stop)),
        asyncio.create_task(asyncio.to_thread(journal.run, stop)),
        asyncio.create_task(asyncio.to_thread(reach.run, stop)),
        asyncio.create_task(asyncio.to_thread(refusals.run, stop)),
        asyncio.create_task(asyncio.to_thread(copies.run, stop)),
    ]
    waits = [
        asyncio.create_task(work)
        for work in (watch.run(), limits.run(), probes.run(), _read_clock(clock), stopped.wait())
    ]
    await asyncio.wait([*threads, *waits], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    counters.wake()
    for task in waits:
        task.cancel()
    results = await asyncio.gather(*threads, *waits, return_exceptions=True)
    log.info("node agent ends", node=settings.node, events=relay.sent_events, undecodable=relay.undecodable)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _read_clock(clock: NodeClock) -> None:
    while True:
        clock.read()
        await asyncio.sleep(READ_SECONDS)
