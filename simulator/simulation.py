"""One run of the simulator: arrivals, the router, the nodes and their calls on one scheduler, until it ends.

A shell: it holds the sockets and the clock, and hands every decision to the pure parts (traffic, vendors, hunt).
Nothing runs beside the one loop in `run`: the router's answers are queued for it, so that an error ends the run.
"""

import asyncio
import random
import time
from collections import Counter, deque
from typing import Any, Final

import structlog

from runtime.heartbeat import send_beat
from schemas.agi_digest import read_node_key
from schemas.facts import FactsError, decode_facts
from simulator.agi_client import RouterClient, Variables, make_header
from simulator.board import Board
from simulator.crashes import Crashes, Host
from simulator.hunt import PlanLeg
from simulator.lines import Line
from simulator.node import LiveCall, Node
from simulator.plans import CallIntent, LegPlan
from simulator.scheduler import Scheduler, real_ms
from simulator.settings import SimulatorSettings
from simulator.traffic import Traffic
from simulator.vendors import Vendors, plan_leg

log = structlog.get_logger(__name__)

_STEPS_PER_ROUND: Final = 200  # then the sockets have their turn
_BEAT_SECONDS: Final = 1.0


class Simulation:
    """The run. `nodes` by name; `start_ms` is the scheduler's beginning."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        traffic: Traffic,
        vendors: Vendors,
        scheduler: Scheduler,
        start_ms: int,
        host: Host,
    ) -> None:
        self._settings = settings
        self._traffic = traffic
        self._vendors = vendors
        self._scheduler = scheduler
        self._start_ms = start_ms
        self._end_ms = None if settings.seconds is None else start_ms + int(settings.seconds * 1_000)
        self._keys = {node.name: read_node_key(node.agi_key.get_secret_value()) for node in settings.nodes}
        self.nodes: dict[str, Node] = {}
        self._crashes = Crashes(settings.incidents, self.nodes, host, scheduler)
        self._board = Board(settings.incidents, self._busiest_vendor)
        self._router = RouterClient(
            settings.router_host,
            settings.router_port,
            most_sessions=settings.max_agi_sessions,
            seconds=settings.agi_seconds,
            answered=self._take_answer,
        )
        self._answers: deque[tuple[LiveCall, Variables | None]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._number = 0
        self._ending = False
        self._not_placed = 0
        self._hung_up = 0
        self._legs_of_vendor: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._hunts: Counter[int] = Counter()
        self._next_beat = 0.0

    async def run(self) -> None:
        """Place calls until the end, or until `stop`; then end every call. Any failure of the shell is raised."""
        self._scheduler.at(self._start_ms, self._arrive_first)
        self._crashes.plan(self._start_ms)
        if self._end_ms is not None:
            self._scheduler.at(self._end_ms, self.stop)
        while not self._is_over():
            while self._answers:
                self._carry_on(*self._answers.popleft())
            self._beat()
            if self._crashes.are_due:
                await self._crashes.carry_out()
            if self._must_wait():
                await self._sleep(_BEAT_SECONDS)
            elif self._scheduler.run_due(_STEPS_PER_ROUND) == _STEPS_PER_ROUND:
                await asyncio.sleep(0)
            elif not self._is_over():
                seconds = self._scheduler.seconds_until_next()
                await self._sleep(_BEAT_SECONDS if seconds is None else min(seconds, _BEAT_SECONDS))

    def stop(self) -> None:
        """No new call from now on; those in progress are hung up, and those at the router as soon as it answers."""
        if self._ending:
            return
        self._ending = True
        now_ms = self._scheduler.now_ms()
        self._hung_up = sum(node.hang_up_all(now_ms) for node in self.nodes.values())
        self._wake_up()

    def _is_over(self) -> bool:
        return self._ending and not self.calls_in_progress()

    def calls_in_progress(self) -> int:
        """How many calls have not ended."""
        return sum(len(node.calls) for node in self.nodes.values())

    def observe(self, node: Node, line: Line) -> None:
        """Count a line that a node has written."""
        counts = node.counts
        if line.kind == "LEG_RESULT":
            counts.legs += 1
        elif line.kind == "CALL_END":
            counts.calls += 1
            counts.legs += 1
            reason, legs = line.values["reason"], int(line.values["legs"])
            self._hunts[legs] += 1
            if reason:
                self._reasons[reason] += 1
            elif line.values["ansms"]:
                counts.answered += 1
            elif legs:
                counts.failed += 1

    def summary(self) -> dict[str, Any]:
        """What the run has done, for the terminal and the log."""
        counts = [node.counts for node in self.nodes.values()]
        return {
            "calls": sum(count.calls for count in counts),
            "legs": sum(count.legs for count in counts),
            "answered": sum(count.answered for count in counts),
            "failed": sum(count.failed for count in counts),
            "refused": dict(sorted(self._reasons.items())),
            "hunts_by_legs": {str(legs): count for legs, count in sorted(self._hunts.items())},
            "hung_up_at_end": self._hung_up,
            "not_placed": self._not_placed,
            "nodes": {
                name: {"calls": node.counts.calls, "legs": node.counts.legs} for name, node in self.nodes.items()
            },
            "incidents": self._board.chosen(),
            "crashed_nodes": self._crashes.crashed,
            "crashed_calls": self._crashes.calls,
        }

    # ---- arrivals

    def _arrive_first(self) -> None:
        self._plan_next(self._scheduler.now_ms())

    def _plan_next(self, now_ms: int) -> None:
        arrival = self._traffic.next_arrival(now_ms)
        if self._ending or (self._end_ms is not None and arrival.at_ms >= self._end_ms):
            return
        self._scheduler.at(arrival.at_ms, lambda: self._arrive(arrival.at_ms, arrival.is_call))

    def _arrive(self, at_ms: int, is_call: bool) -> None:
        if is_call and not self._ending:
            self._number += 1
            intent = self._traffic.make_call(self._number, at_ms)
            if self.calls_in_progress() >= self._settings.max_calls or not self.nodes[intent.node].is_up:
                self._not_placed += 1
            else:
                self._place(intent, at_ms)
        self._plan_next(at_ms)

    def _place(self, intent: CallIntent, at_ms: int) -> None:
        node = self.nodes[intent.node]
        live = node.begin(intent, at_ms, self._plan_leg(intent), real_ms())
        settings = self._settings
        header = make_header(
            live.hunt.call,
            live.caller.name,
            live.caller.unique_id,
            settings.router_host,
            settings.router_port,
            self._keys[intent.node],
        )
        self._router.ask(live, header)

    def _plan_leg(self, intent: CallIntent) -> PlanLeg:
        def plan(number: int, facts_text: str) -> LegPlan:
            try:
                facts = decode_facts(facts_text)
                vendor_id, callee, code = facts.vendor_peer_id, facts.callee, facts.code
            except FactsError:
                vendor_id, callee, code = 0, "", ""  # the journal will say so; the call goes on as in the dialplan
            vendor = self._vendors.names.get(vendor_id, "")
            self._legs_of_vendor[vendor] += 1
            elapsed_seconds = (self._scheduler.now_ms() - self._start_ms) / 1_000
            effects = self._board.effects_on(vendor, callee, elapsed_seconds)
            rng = random.Random(f"{self._settings.seed}/leg/{intent.number}/{number}")
            return plan_leg(rng, self._vendors.quality_of(vendor_id, code), intent.callee_plan, effects)

        return plan

    def _busiest_vendor(self) -> str:
        most = self._legs_of_vendor.most_common(1)
        return most[0][0] if most else ""

    # ---- the router's answers, and waiting

    def _take_answer(self, ticket: object, variables: Variables | None) -> None:
        if isinstance(ticket, LiveCall):
            self._answers.append((ticket, variables))
            self._wake_up()

    def _carry_on(self, live: LiveCall, variables: Variables | None) -> None:
        if live.node.calls.get(live.hunt.call.call_id) is not live:
            return  # its node has died: there is no channel that the answer could be for
        # The call's own time: what the router took in real time, whatever the clock's speed. It never passes the clock.
        took_ms = int(real_ms() - live.asked_real_ms)
        at_ms = min(live.hunt.call.started_at_ms + took_ms, self._scheduler.now_ms())
        live.node.carry_out(live, live.hunt.take_routes(variables, at_ms))

    def _must_wait(self) -> bool:
        """Back-filling goes as fast as the router answers: the clock waits, no call does."""
        return self._settings.speedup > 1 and self._router.is_full

    async def _sleep(self, seconds: float) -> None:
        """Until somebody wakes the loop, at most so long."""
        if self._answers or seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        handle = loop.call_later(seconds, self._wake_up)
        try:
            await self._wake
        finally:
            self._wake = None
            handle.cancel()

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_SECONDS
            lag_ms = self._scheduler.lag_ms()
            send_beat(self._settings.beat, detail=f"{self.calls_in_progress()} calls in progress, {lag_ms} ms behind")

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
