"""The soak (bench/soak), short: calls that try to break the line, and what was on the wire against the journal's bill.

The router is a scripted one, which hunts what a number's kind says; the stores behind the journal have tests of their
own. The journal is read as its agent reads it, with the node's copies of its SIP messages (`closed`), and without any
(`by_channel`). Packets are seen from outside, with the kernel's timestamps; where only root may, SIPp's own logs are
the witness.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from real_line import HEP_SECRET, ONE_AT_A_TIME, RICH, Line
from scripted_router import ScriptedRouter, facts, mset

from agent.journal.files import Line as JournalLine
from agent.settings import AgentSettings
from agent.wire.copies import Copies, direction
from agent.wire.legs import Wire
from bench.soak.calls import CALLERS, KINDS, TIMED, VENDORS, code_of, kind_of, make_calls
from bench.soak.capture import Capture, why_not
from bench.soak.matching import SIDES, ClosedLeg, Matched, billed_otherwise, closed_leg, match
from bench.soak.players import CutOff, Players, free_address
from bench.soak.queues import SHOW, Queue, manager_queue
from bench.soak.wire import Side, WireLeg, legs_of
from schemas import wire_times
from schemas.clock_steps import UNKNOWN
from schemas.events import CallEnded, LegEnded
from schemas.facts import decode_facts, encode_facts
from schemas.journal import read_line
from streams.folds.rating import rate_leg

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
CALLS: Final = 80
CALLS_PER_SECOND: Final = 40
TIMED_MS: Final = (2_750, 3_250)
TIMED_CALLS: Final = 8
CANCELLED_AT_ONCE: Final = 10
SLACK_MS: Final = 150
BY_CHANNEL_SLACK_MS: Final = 250
TIMED_SLACK_MS: Final = 150
MAX_MS: Final = {"never-hangs-up": 3_000}  # by caller
_ELSE_MAX_MS: Final = 12_000
MANAGER_MESSAGES: Final = 200  # of a call, in the manager's queue
_LAST_SECONDS: Final = 20.0
_WIRE_SECONDS: Final = 2.0
_VENDOR_CUT_OFF: Final = "v-sipp-vendor-6"


class Seen(NamedTuple):
    """The legs on the wire, the same by SIPp's own logs, and as the journal closes and rating bills them, with the
    agent's knowledge of packets and without.
    """

    wire: list[WireLeg]
    logged: list[WireLeg]
    closed: list[ClosedLeg]
    by_channel: list[ClosedLeg]
    unheard: list[str]  # Call-IDs of INVITEs that were cancelled before there could be a line
    managers: tuple[Queue, Queue]  # the manager's queue before and after


@pytest.fixture(scope="module")
def seen(own_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    manager = manager_queue(own_line.console(SHOW))
    begun = own_line.journal.stat().st_size if own_line.journal.exists() else 0
    directory = tmp_path_factory.mktemp("soak")
    with ExitStack() as stack:
        players = stack.enter_context(Players(own_line.programs, directory, ("127.0.0.1", own_line.sip_port)))
        capture = stack.enter_context(Capture(own_line.sip_port)) if why_not() is None else None
        packets = stack.enter_context(copies(own_line))
        vendors = {name: free_address(f"127.0.0.{70 + at}") for at, name in enumerate(VENDORS)}
        for name, address in vendors.items():
            players.vendor(name, address)
        own_line.kill_router()
        router = ScriptedRouter(own_line.router_port, lambda header, session: answer(vendors, header, session))
        stack.callback(own_line.await_router)
        stack.callback(own_line.start_router)
        stack.callback(router.close)
        place(own_line, players)
        lines = await_closed(own_line.journal, begun, players)
        node = ("127.0.0.1", own_line.sip_port)
        logged = list(legs_of(players.messages(), node).values())
        wire = logged
        if capture is not None:
            capture.close()
            assert capture.dropped == 0
            wire = list(legs_of(capture.messages(), node).values())
        words = packets.of(lines, _WIRE_SECONDS)
        unheard = [one.sip_call_id for one in packets.unheard(0)]
        managers = manager, manager_queue(own_line.console(SHOW))
    return Seen(wire, logged, closed_legs(lines, words), closed_legs(lines, {}), unheard, managers)


@contextmanager
def copies(line: Line) -> Iterator[Wire]:
    """The node's copies of its SIP messages, as its agent takes them."""
    settings = AgentSettings.model_validate(
        {
            "node": "ast1",
            "directory": line.directory,
            "kafka": {"bootstrap": "127.0.0.1:9"},
            "postgres": {"dsn": line.dsn},
            "ami_secret": "right-secret",
            "hep_port": line.hep_port,
            "hep_secret": HEP_SECRET,
            "sip_port": line.sip_port,
        }
    )
    wire, stop = Wire(direction(settings)), threading.Event()
    thread = threading.Thread(target=Copies(settings, [wire.take]).run, args=(stop,))
    thread.start()
    try:
        yield wire
    finally:
        stop.set()
        thread.join()


def answer(vendors: dict[str, tuple[str, int]], header: dict[str, str], session: Any) -> None:
    """Hunt the vendors of the number's kind, at a price of each second begun."""
    number = header["agi_arg_4"]
    kind = kind_of(number)
    pairs = [f"CALL_FACTS={billed('receivable')}", "REASON=", f"MAX_MS={MAX_MS.get(kind.caller, _ELSE_MAX_MS)}"]
    for at, vendor in enumerate(kind.vendors, 1):
        host, port = vendors[vendor]
        endpoint = _VENDOR_CUT_OFF if vendor == "cut-off" else "v-sipp-vendor-2"
        pairs += [f"ROUTE_{at}_DIAL=PJSIP/{endpoint}/sip:{number}@{host}:{port}", f"ROUTE_{at}_TIMEOUT=5"]
        pairs += [f"ROUTE_{at}_PDD=2", f"ROUTE_{at}_FACTS={billed('payable')}"]
    mset(session, *pairs, "DECISION=ALLOW", f"ROUTES={len(kind.vendors)}")


def billed(side: str) -> str:
    return encode_facts(msgspec.structs.replace(decode_facts(facts(side)), minimum_seconds=1))


def place(line: Line, players: Players) -> None:
    """All calls at once, each kind of caller from a port of its own; returns when the callers have ended."""
    calls = make_calls(CALLS, 1, TIMED_MS, TIMED_CALLS)
    processes = []
    with CutOff(("127.0.0.1", line.ami_port), "agent", "right-secret", ("c-sipp-customer-3", _VENDOR_CUT_OFF)):
        for name in CALLERS:
            theirs = [call for call in calls if call.kind.caller == name]
            address = free_address(ONE_AT_A_TIME if name == "cut-off" else RICH)
            processes.append(players.callers(name, theirs, CALLS_PER_SECOND * len(theirs) / CALLS, address))
        cancel_at_once(line.sip_port)
        for process in processes:
            process.wait(60)
    players.check()


def cancel_at_once(sip_port: int) -> None:
    """INVITEs, each with its CANCEL right behind it, which may be too early to be taken: then the vendor refuses."""
    number = f"{code_of(next(kind for kind in KINDS if kind.name == 'busy'))}9999990"
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.bind((RICH, 0))
        host, port = own.getsockname()
        for at in range(CANCELLED_AT_ONCE):
            for method in ("INVITE", "CANCEL"):
                head = [
                    f"{method} sip:{number}@127.0.0.1:{sip_port} SIP/2.0",
                    f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{port}-{at}",
                    f"From: <sip:1@{host}>;tag={at}",
                    f"To: <sip:{number}@127.0.0.1>",
                    f"Call-ID: at-once-{at}@{host}",
                    f"CSeq: 1 {method}",
                    f"Contact: <sip:1@{host}:{port}>",
                    "Max-Forwards: 70",
                    "Content-Length: 0",
                ]
                own.sendto("\r\n".join([*head, "", ""]).encode(), ("127.0.0.1", sip_port))


def await_closed(journal: Path, begun: int, players: Players) -> list[JournalLine]:
    """The journal's lines, once as many calls are over as the callers have begun."""
    legs = legs_of(players.messages(), players.node).values()
    entered = {leg.call_id for leg in legs if leg.side == "customer" and leg.final != 488}
    deadline = time.monotonic() + _LAST_SECONDS
    while True:
        raws = [raw for raw in journal.read_bytes()[begun:].splitlines(keepends=True) if raw.endswith(b"\n")]
        lines = [JournalLine("journal", at, raw) for at, raw in enumerate(raws)]
        left = entered - {leg.sip_call_id for leg in closed_legs(lines, {})}
        if not left or time.monotonic() > deadline:
            return lines
        time.sleep(0.2)


def closed_legs(lines: list[JournalLine], words: dict[JournalLine, wire_times.WireLeg]) -> list[ClosedLeg]:
    """The legs that these lines close, rated. `words`: their packets."""
    read = [read_line(line.raw, UNKNOWN, words.get(line)) for line in lines]
    ended = [found[0] for found in read if found is not None]
    return [closed_leg(rate_leg(event)) for event in ended if isinstance(event, LegEnded | CallEnded)]


def matched(seen: Seen, side: Side) -> Matched:
    return match(side, seen.wire, seen.closed)


def kinds_of(legs: list[WireLeg]) -> list[tuple[str, WireLeg]]:
    return [(kind_of(leg.number).name, leg) for leg in legs]


@pytest.mark.parametrize("side", SIDES)
def test_each_answer_on_the_wire_is_one_answered_leg_and_none_is_made_up(seen: Seen, side: Side) -> None:
    found = matched(seen, side)
    assert kinds_of(found.only_wire) == []
    assert found.only_closed == []
    assert found.repeated == []
    assert kinds_of(found.crossed) == []
    assert len(found.pairs) > CALLS // 2


@pytest.mark.parametrize("side", SIDES)
def test_without_packets_only_what_a_cancel_crossed_is_unknown(seen: Seen, side: Side) -> None:
    found = match(side, seen.wire, seen.by_channel)
    assert kinds_of(found.only_wire) == []
    assert found.only_closed == []
    assert found.repeated == []
    far = [pair for pair in found.pairs if abs(pair.difference_ms or 0) > BY_CHANNEL_SLACK_MS]
    assert far == []
    answered = {  # by the vendor who answers whenever he is cancelled; a CANCEL may come before his INVITE
        leg.call_id
        for leg in seen.wire
        if leg.side == side and leg.answered_us and kind_of(leg.number).name == "answered while it is cancelled"
    }
    assert answered <= {leg.call_id for leg in found.crossed}


@pytest.mark.parametrize("side", SIDES)
def test_talk_is_the_wires(seen: Seen, side: Side) -> None:
    far = [pair for pair in matched(seen, side).pairs if abs(pair.difference_ms or 0) > SLACK_MS]
    assert [(kind_of(pair.wire.number).name, pair.difference_ms, pair) for pair in far] == []


@pytest.mark.parametrize("side", SIDES)
def test_each_second_begun_on_the_wire_is_billed(seen: Seen, side: Side) -> None:
    pairs = matched(seen, side).pairs
    assert billed_otherwise(pairs, SLACK_MS) == []
    timed = [pair for pair in pairs if kind_of(pair.wire.number) is TIMED]
    assert billed_otherwise(timed, TIMED_SLACK_MS) == []
    times = Counter(pair.closed.billed_seconds for pair in timed)
    assert min(times[3], times[4]) >= TIMED_CALLS // 2 - 1, times  # on a busy machine SIPp gives one up


def test_every_invite_that_entered_the_dialplan_is_one_inbound_leg(seen: Seen) -> None:
    closed = [leg.sip_call_id for leg in seen.closed if leg.side == "customer"]
    invited = {leg.call_id: leg for leg in seen.wire if leg.side == "customer"}
    assert len(closed) == len(set(closed))
    # Codecs that nobody may offer are refused by PJSIP itself; who cancels at once may do so before the dialplan.
    without = [leg for call_id, leg in invited.items() if call_id not in closed and call_id not in seen.unheard]
    assert {(kind_of(leg.number).name, leg.final) for leg in without} <= {("other codecs", 488)}
    at_once = [leg.final for call_id, leg in invited.items() if call_id.startswith("at-once")]
    assert set(at_once) <= {486, 487}
    assert len(at_once) in (0, CANCELLED_AT_ONCE)  # SIPp's logs do not show them
    assert not set(seen.unheard) & set(closed)
    assert all(call_id.startswith("at-once") for call_id in seen.unheard)


def test_the_managers_queue_stays_far_below_the_mark_above_which_asterisk_takes_no_calls(seen: Seen) -> None:
    before, after = seen.managers
    assert (after.processed - before.processed) / (CALLS + CANCELLED_AT_ONCE) < MANAGER_MESSAGES
    assert after.max_depth < after.high_water / 2


def test_every_kind_of_call_was_seen(seen: Seen) -> None:
    assert {kind_of(leg.number).name for leg in seen.wire} == {kind.name for kind in (*KINDS, TIMED)}


def test_sipps_own_logs_tell_the_same(seen: Seen) -> None:
    for side in SIDES:
        assert {leg.call_id for leg in seen.logged if leg.side == side and leg.answered_us is not None} == {
            leg.call_id for leg in seen.wire if leg.side == side and leg.answered_us is not None
        }
