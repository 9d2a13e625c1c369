"""The router's process: a FastAGI server that decides each call from the newest snapshot and admits it with a hold."""

import asyncio
import contextlib
import re
import signal
import sys
import time
from decimal import Decimal
from functools import partial
from typing import Final
from urllib.parse import unquote

import structlog
import uvloop

from router.core import Decision, Request, World, decide, look_inbound, lookup_of, seed_of
from router.server import digests, disks, full_limits, reach, silent_nodes, stops
from router.server.admission import Admission
from router.server.agi import AgiApplication, AgiError, AgiRequest
from router.server.answer import Answer, Attempt, call_facts, routed_json, variables
from router.server.digests import Digests
from router.server.disks import Disks
from router.server.full_limits import FullLimits
from router.server.holder import SnapshotHolder
from router.server.lookups import Lookups
from router.server.polling import poll
from router.server.quality_reader import QualityReader
from router.server.reach import Reach
from router.server.shed import Shedder
from router.server.silent_nodes import SilentNodes
from router.server.spool import Spool
from router.server.stops import Stops, unbilled_facts
from router.settings import RouterSettings
from router.snapshot.store import Snapshot
from runtime.heartbeat import send_beat
from schemas.agi import AGI_ARGUMENTS, AGI_OPTIONAL_ARGUMENTS, AGI_SCRIPT, CALL_FACTS, WHO_SCRIPT
from schemas.facts import encode_facts
from schemas.ids import IdError, check_call_id, node_of

log = structlog.get_logger(__name__)
BEAT_SECONDS: Final = 1.0
# The spool's thread renders decisions in Python; a session that is ready must not wait for the usual 5 ms behind it.
_SWITCH_SECONDS: Final = 0.0005
_MOMENT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_LAST_MS: Final = 4_102_444_800_000
_NO_TEXTS: Final = ("",) * len(AGI_OPTIONAL_ARGUMENTS)


class Router:
    """Serves AGI sessions."""

    def __init__(self, settings: RouterSettings) -> None:
        """Nothing is opened yet: see run()."""
        self._settings = settings
        self._admission = Admission(settings)
        self._digests = Digests(settings, self._admission.nodes_without_digest, self._admission.require_digests)
        self._disks = Disks(settings, self._admission.low_disks)
        self._silent = SilentNodes(self._admission.silent_nodes)
        self._full = FullLimits(self._admission.full_limits)
        self._stops = Stops(self._admission.stopped_peers)
        self._reach = Reach(self._admission.skipped_vendors, self._admission.take_try)
        self._lookups = Lookups(settings.lookup_tokens)
        self._snapshots = SnapshotHolder(settings.snapshot)
        self._quality = QualityReader(settings.kafka)
        self._spool = Spool(settings.spool, settings.kafka, settings.spool_limit)
        self.decided = 0

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; sessions that are open then are served to their end."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        application = AgiApplication(settings, loop)
        application.add_route(AGI_SCRIPT, self.route)
        application.add_route(WHO_SCRIPT, self.who)
        application.add_route("ping", self.ping)
        shedder = Shedder(
            application.lag,
            lambda: application.sessions + application.waiting,
            self._admission.line,
            lambda: self._snapshots.current,
        )
        application.require = self._digests.require
        application.gate = shedder.refuse
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self._snapshots.look()
        await self._admission.open()
        await self._disks.look()  # before the first call
        await self._stops.look()
        await self._digests.look()
        self._spool.start()
        self._quality.start()
        server = await application.listen(settings.host, settings.port, inherited=settings.listener)
        log.info("router listens", host=settings.host, port=settings.port)
        background = [
            asyncio.create_task(work)
            for work in (
                self._snapshots.run(),
                poll(self._disks.look, disks.LOOK_SECONDS),
                poll(self._full.look, full_limits.LOOK_SECONDS),
                poll(self._stops.look, stops.LOOK_SECONDS),
                poll(self._digests.look, digests.LOOK_SECONDS),
                poll(self._silent.look, silent_nodes.LOOK_SECONDS),
                poll(self._reach.look, reach.LOOK_SECONDS),
                self._beat(application, shedder),
            )
        ]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        server.close()
        await self._drain(application)
        for task in [stopped, *background]:
            task.cancel()
        results = await asyncio.gather(*background, return_exceptions=True)
        await self._admission.close()
        await self._lookups.close()
        self._digests.close()
        await asyncio.to_thread(self._quality.stop)
        await asyncio.to_thread(self._spool.stop)
        for result in results:
            if (
                isinstance(result, BaseException)
                and not isinstance(result, asyncio.CancelledError)
                and stopped not in done
            ):
                raise result
        log.info("router ends", decided=self.decided)

    async def _drain(self, application: AgiApplication) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(application.idle.wait(), self._settings.deadline_seconds)

    async def _beat(self, application: AgiApplication, shedder: Shedder) -> None:
        while True:
            current = self._snapshots.current
            if current is not None:
                send_beat(
                    self._settings.beat,
                    detail=f"generation {current.config.generation}, {self.decided} decided, "
                    f"{application.sessions} open, {application.shed + shedder.shed} shed, "
                    f"{application.broken} broken, {self._spool.waiting} decisions wait"
                    + (f", {self._disks.said}" if self._disks.said else "")
                    + (f", {self._snapshots.building}" if self._snapshots.building else ""),
                    degraded=self._degraded(),
                )
            await asyncio.sleep(BEAT_SECONDS)

    def _degraded(self) -> str:
        full = f"{self._disks.said}: new calls are refused" if self._disks.said else ""
        return "; ".join(text for text in (full, self._silent.said, self._digests.said, self._stops.alarm) if text)

    async def ping(self, request: AgiRequest) -> None:
        """The health check: a whole session, without a call."""
        await request.command("NOOP streamco")

    async def who(self, request: AgiRequest) -> None:
        """Whose call it was that ended before the answer: its FACTS. Nothing is decided, held, counted or recorded."""
        _, asked, _ = read_request(request)
        snapshot = self._snapshots.current
        if snapshot is None:
            raise AgiError("no snapshot yet")
        inbound = look_inbound(snapshot, asked, time.time_ns() // 1_000_000)
        facts = call_facts(Decision(World(snapshot), asked, inbound, inbound.refusal))
        await request.set_variables([(CALL_FACTS, encode_facts(facts))])

    async def look_up(self, asked: Request) -> Request:
        """What others have to be asked before the decision, within their own time. As a rule it is nobody."""
        snapshot = self._snapshots.current
        wanted = lookup_of(snapshot, asked) if snapshot is not None else None
        if snapshot is None or wanted is None:
            return asked
        lookup, number = wanted
        return asked._replace(dip=await self._lookups.ask(lookup, snapshot.config.lookups.mobile_networks, number))

    async def _decide_tries(self, snapshot: Snapshot, asked: Request, node: str) -> Decision:
        """The decision; a vendor whose skip is over is in it only if this call is the one that tries it."""
        taken: frozenset[int] = frozenset()
        while True:
            full, unreachable = self._full.of(node), self._reach.unreachable(node)
            world = World(snapshot, self._quality.current, full, unreachable, self._stops.keys)
            if taken:
                world = world._replace(unreachable={k: v for k, v in world.unreachable.items() if k not in taken})
            decision = self._decide(world, asked)
            wanted = self._reach.due(node, (r.vendor.peer_id for r in decision.routes if r.vendor.peer_id not in taken))
            if wanted is None:
                return decision
            if await self._reach.take(wanted):
                taken |= {wanted.peer_id}

    def _decide(self, world: World, asked: Request) -> Decision:
        now_ms, seconds = time.time_ns() // 1_000_000, self._settings.snapshot.expected_call_seconds
        return decide(world, asked, now_ms, expected_seconds=seconds)

    async def route(self, request: AgiRequest) -> None:
        """One call: decide, admit, answer by variables, and let the decision be known."""
        call_id, asked, started_at_ms = read_request(request)
        asked = await self.look_up(asked)
        request.require_open()  # a caller who has gone meanwhile must leave no hold
        snapshot = self._snapshots.current  # after what is waited for: the newest decides
        if snapshot is None:
            # No DECISION is set: the dialplan refuses the call as ROUTER UNAVAILABLE and journals it.
            raise AgiError("no snapshot yet")
        before_ns = time.perf_counter_ns()
        decision = await self._decide_tries(snapshot, asked, node_of(call_id))
        micros = (time.perf_counter_ns() - before_ns) // 1000
        facts = call_facts(decision)
        refusal = decision.refusal or self._disks.refusal(node_of(call_id))
        if (stop := self._stops.refusal(facts.customer_peer_id)) is not None:  # for whatever else it is refused
            refusal, facts = stop, unbilled_facts(facts)
        if refusal is None:
            answer = await self._admission.ask(decision, facts, call_id, started_at_ms)
        else:
            answer = Answer(decision, refusal, 0, 0)
        await request.set_variables(variables(answer, facts))
        self.decided += 1
        attempt = Attempt(call_id, started_at_ms, time.time_ns() // 1_000_000, micros)
        self._spool.put(call_id, partial(routed_json, answer, attempt))


def read_request(request: AgiRequest) -> tuple[str, Request, int]:
    """(call_id, the attempt, its start in unix ms) of a session's arguments. Raises AgiError for what is not ours."""
    arguments = [unquote(argument, errors="replace") if "%" in argument else argument for argument in request.arguments]
    if not len(AGI_ARGUMENTS) <= len(arguments) <= len(AGI_ARGUMENTS + AGI_OPTIONAL_ARGUMENTS):
        raise AgiError(f"{len(arguments)} arguments: {', '.join(AGI_ARGUMENTS)} are needed")
    call_id, endpoint, remote_address, callee, caller, started_at, *more = arguments
    try:
        check_call_id(call_id)
    except IdError as error:
        raise AgiError(f"arguments: {error!r}") from error
    # Digits alone: of an exponent or of a thousand digits the number itself would take seconds to make.
    if _MOMENT.fullmatch(started_at) is None or (started_at_ms := int(Decimal(started_at) * 1000)) > _LAST_MS:
        raise AgiError(f"started_at {started_at[:40]!r}: must be a moment in unix seconds")
    optional = (text[:256] for text in (*more, *_NO_TEXTS)[: len(AGI_OPTIONAL_ARGUMENTS)])
    name, asserted, privacy, sender, max_forwards, codecs = optional
    asked = Request(
        endpoint[:64],
        remote_address[:64],
        callee[:256],
        caller[:256],
        seed_of(call_id),
        name,
        asserted,
        privacy,
        sender,
        max_forwards,
        codecs=codecs,
    )
    return call_id, asked, started_at_ms


def run(settings: RouterSettings) -> None:
    """Serve until SIGTERM. Raises what ends the server."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(Router(settings).run())
