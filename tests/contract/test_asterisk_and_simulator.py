"""The same calls through the real Asterisk and through the simulator's node: the same events, field by field.

Both ask the same router. Ids and times are put aside: ids by naming the call `CALL`, times by comparing only the
lengths between them, within what a loaded machine may take.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from agi_client import key_of
from journal_events import events_of
from real_calls import (
    CALLS,
    CANCEL_AFTER_MS,
    FORGED_CALLER,
    FORGED_NUMBER,
    HOSTILE_CALLERS,
    HOSTILE_NUMBERS,
    HUNG_UP,
    TALK_MS,
    UNCARRIED_NUMBERS,
    Seen,
    Wanted,
)
from real_line import CALLER, PREFIX, STRANGER, Line

from schemas.events import CallEnded, LegAnswered, LegEnded, LegStarted
from schemas.facts import decode_facts
from schemas.journal import JournalEvent
from simulator.agi_client import RouterClient, Variables, make_header
from simulator.node import LiveCall, Node
from simulator.node_files import Journal
from simulator.plans import CalleePlan, CallIntent, EndedBy, LegPlan
from simulator.scheduler import Clock, Scheduler, real_ms
from simulator.sipp.scenarios import ANSWER_MS, VENDOR_TALKS_MS
from sinks import holds

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
TOLERANCE_MS = 700
RING_MS, PROGRESS_MS, REFUSAL_MS = 100, 200, 3
PATIENT_MS = 60_000
NAMES = [
    *(name for name in CALLS if name != "too many hops"),  # the simulator makes no SIP, and has no Max-Forwards
    *(f"hostile number {number}" for number in range(len(HOSTILE_NUMBERS))),
    *(f"uncarried number {number}" for number in range(len(UNCARRIED_NUMBERS))),
    "uncarried, prefixed",
    "forged",
    *(f"hostile caller {number}" for number in range(len(HOSTILE_CALLERS))),
]
_LENGTHS = ("duration_ms", "asterisk_duration_ms", "pdd_ms")
_MOMENTS = ("started_at_ms", "call_started_at_ms", "answered_at_ms", "ended_at_ms")


class SimulatedLine:
    """One simulated node in this event loop, with vendors that do what SIPp's do."""

    def __init__(self, directory: Path, router_port: int, vendors: dict[int, int]) -> None:
        self._scheduler = Scheduler(Clock(int(real_ms()), 1.0, real_ms))
        self._vendors = vendors
        self._router_port = router_port
        self.journal = Journal(directory)
        self._node = Node(
            "sim1",
            1795609861,
            journal_file=self.journal,
            scheduler=self._scheduler,
            observe=lambda _node, _line: None,
        )
        self._router = RouterClient("127.0.0.1", router_port, most_sessions=64, seconds=5, answered=self._answered)
        self.call_ids: dict[str, str] = {}

    def begin(self, name: str, wanted: Wanted, caller: str = CALLER) -> LiveCall:
        """A call as SIPp places it."""
        anonymous = wanted.host == STRANGER
        customer = int(wanted.host.rpartition(".")[2]) - 9
        patience_ms = PROGRESS_MS + CANCEL_AFTER_MS if name == "cancelled" else PATIENT_MS
        intent = CallIntent(
            number=len(self.call_ids) + 1,
            node="sim1",
            endpoint="anonymous" if anonymous else f"c-sipp-customer-{customer}",
            remote_address=f"{wanted.host}:5060",
            callee=wanted.callee,
            caller=caller,
            patience_ms=patience_ms,
            callee_plan=CalleePlan(True, True, 0, 200, 0, "caller"),
        )
        live = self._node.begin(intent, self._scheduler.now_ms(), partial(self._plan, name), real_ms())
        self.call_ids[name] = live.hunt.call.call_id
        key, port = key_of("sim1"), self._router_port
        header = make_header(live.hunt.call, live.caller.name, live.caller.unique_id, "127.0.0.1", port, key)
        self._router.ask(live, header)
        return live

    def _plan(self, name: str, _number: int, facts: str) -> LegPlan:
        vendor = self._vendors[decode_facts(facts).vendor_peer_id]
        if vendor in (1, 6):
            return LegPlan(final_ms=REFUSAL_MS, sip_code=503)
        if vendor == 3:
            return LegPlan(final_ms=REFUSAL_MS, sip_code=486)
        if vendor == 4:
            return LegPlan(has_channel=False)
        if vendor == 5:
            return LegPlan(progress_ms=PROGRESS_MS)
        early = name == "early media"
        ended_by: EndedBy = "callee" if name == "vendor hangs up" else "caller"
        talk_ms = {"vendor hangs up": VENDOR_TALKS_MS, "one at a time": TALK_MS + 1_000, "cut": PATIENT_MS}
        talk_ms |= dict.fromkeys(HUNG_UP, PATIENT_MS)
        return LegPlan(
            ring_ms=None if early else RING_MS,
            progress_ms=RING_MS if early else None,
            final_ms=ANSWER_MS,
            talk_ms=talk_ms.get(name, 200 if name.startswith("hostile") else TALK_MS),
            ended_by=ended_by,
        )

    def _hang_up(self, live: LiveCall, cause: int) -> None:
        assert self._node.hang_up(live.caller.name, cause, self._scheduler.now_ms())

    def _answered(self, ticket: object, variables: Variables | None) -> None:
        assert isinstance(ticket, LiveCall)
        self._node.carry_out(ticket, ticket.hunt.take_routes(variables, self._scheduler.now_ms()))

    async def until(self, what: Callable[[], bool]) -> None:
        """Let time pass until it is so."""
        async with asyncio.timeout(15):
            while not what():
                self._scheduler.run_due(100)
                await asyncio.sleep(0.002)

    async def place_all(self) -> None:
        """Every call of the real line; returns when all have ended."""
        for name, wanted in CALLS.items():
            if name == "limit":
                continue
            live = self.begin(name, wanted)
            if name == "one at a time":
                await self.until(lambda live=live: live.hunt.state == "talking")  # type: ignore[misc]
                self.begin("limit", CALLS["limit"])
            if name in HUNG_UP:
                await self.until(lambda live=live: live.hunt.state == "talking")  # type: ignore[misc]
                end_ms = self._scheduler.now_ms() + TALK_MS
                self._scheduler.at(end_ms, partial(self._hang_up, live, HUNG_UP[name]))
        for number, text in enumerate(HOSTILE_NUMBERS):
            self.begin(f"hostile number {number}", Wanted(text, ""))
        for number, text in enumerate(UNCARRIED_NUMBERS):
            self.begin(f"uncarried number {number}", Wanted(text, ""))
        self.begin("uncarried, prefixed", Wanted(f"{PREFIX}\n", ""))
        self.begin("forged", Wanted(FORGED_NUMBER, ""), FORGED_CALLER)
        for number, text in enumerate(HOSTILE_CALLERS):
            self.begin(f"hostile caller {number}", Wanted("999210000010", ""), text)
        await self.until(lambda: not self._node.calls)

    def events(self) -> dict[str, list[JournalEvent]]:
        """What the journal says, by the call's name."""
        events = events_of(self.journal.path.read_bytes().splitlines(keepends=True))
        return {
            name: [event for event in events if event.call_id == call_id] for name, call_id in self.call_ids.items()
        }


@pytest.fixture(scope="module")
def simulated(
    real_line: Line, real_calls: dict[str, Seen], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[JournalEvent]]:
    """The events of the same calls in the simulator."""
    with psycopg.connect(real_line.dsn, autocommit=True) as connection:
        holds.uncount(connection, [seen.call.ended.call_id for seen in real_calls.values()])
        rows = connection.execute("SELECT peer_id, name FROM peers WHERE name LIKE 'sipp-vendor-%'").fetchall()
    vendors = {peer_id: int(name.removeprefix("sipp-vendor-")) for peer_id, name in rows}

    async def run() -> dict[str, list[JournalEvent]]:
        line = SimulatedLine(tmp_path_factory.mktemp("sim1"), real_line.router_port, vendors)
        try:
            await line.place_all()
        finally:
            line.journal.close()
        return line.events()

    return asyncio.run(run())


def real_events(seen: Seen) -> list[JournalEvent]:
    """A real call's events in the order in which calls make them."""
    call, found = seen.call, []
    for started, ended in zip(call.started, call.legs, strict=True):
        found += [started, *(event for event in call.answered if event.leg == started.leg), ended]
    return [*found, call.ended]


def same(event: JournalEvent) -> dict[str, Any]:
    """What must be equal to the last letter: everything but ids, times and the caller's port."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = value.replace(event.call_id, "CALL")
        if name.endswith("_at_ms") or name in _LENGTHS:
            fields[name] = None if value is None else "known"
    if fields.get("sip_call_id"):
        fields["sip_call_id"] = "known"
    if "remote_address" in fields:
        fields["remote_address"] = fields["remote_address"].rpartition(":")[0]
    return fields


def lengths(event: JournalEvent) -> dict[str, int]:
    """The lengths of an event, and its moments counted from its start."""
    found = {name: getattr(event, name, None) for name in _LENGTHS}
    start_ms = getattr(event, "started_at_ms", None)
    if start_ms is not None:
        found |= {
            name: getattr(event, name) - start_ms
            for name in _MOMENTS
            if getattr(event, name, None) is not None and name != "call_started_at_ms"
        }
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("name", NAMES)
def test_both_nodes_tell_the_same_story(
    real_calls: dict[str, Seen], simulated: dict[str, list[JournalEvent]], name: str
) -> None:
    real, fake = real_events(real_calls[name]), simulated[name]
    assert [type(event) for event in fake] == [type(event) for event in real]
    for one, other in zip(real, fake, strict=True):
        assert same(other) == same(one)
        ours, theirs = lengths(one), lengths(other)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert abs(value - theirs[key]) < TOLERANCE_MS, (key, one, other)


def test_every_kind_of_event_was_compared(real_calls: dict[str, Seen]) -> None:
    kinds = {type(event) for name in NAMES for event in real_events(real_calls[name])}
    assert kinds == {LegStarted, LegAnswered, LegEnded, CallEnded}


def test_a_difference_would_be_seen(real_calls: dict[str, Seen]) -> None:
    ended = real_calls["busy"].call.legs[0]
    for field, value in (("cause", 21), ("release_side", "us"), ("sip_code", None), ("dial_status", "CONGESTION")):
        assert same(msgspec.structs.replace(ended, **{field: value})) != same(ended)
