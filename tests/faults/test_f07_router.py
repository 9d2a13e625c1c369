"""F7: the router is killed, and hangs, while calls ring and talk on a real Asterisk: those go on, new ones get 503."""

import os
import random
import signal
import time

import pytest
from fault_line import FaultLine, verdict
from real_calls import until
from real_line import CALLER, NODE, Line
from sip_call import Placed

from simulator.sipp import scenarios
from tests.faults.report import report

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.asterisk]
KILLS = 22
TALK_MS = 2_500
RINGS_MS = 1_500
DEADLINE_MS = 4_000  # of the dialplan, for the router's answer
ANSWERED = "SIP/2.0 200 OK"


def start(line: FaultLine, asterisk: Line) -> None:
    for role in ("billing", "cdrs"):
        line.start_worker(role)
    line.start_agent(asterisk.directory / "node", NODE, asterisk.ami_port)
    # Three Pythons that start take both processors: a call meanwhile may find PostgreSQL too slow to be admitted.
    beats = [line.beat_path(name) for name in ("billing", "cdrs", f"agent-{NODE}")]
    line.until(lambda: all(beat.exists() for beat in beats))


def check(line: FaultLine, asterisk: Line, name: str, faults: int) -> None:
    """What is in the journal is billed once, and the line of the report."""
    audited = line.audit({NODE: asterisk.directory / "node" / "journal"})
    report(name, faults, audited.legs.rated, line.repeats(), verdict(audited))
    assert audited.ok, audited.differences
    assert audited.legs.journal == audited.legs.ledger == audited.legs.cdr
    assert audited.holds_open == 0


@pytest.mark.long
@pytest.mark.timeout(290)
def test_the_router_is_killed_at_random_while_calls_ring_and_talk(line: FaultLine, asterisk: Line) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    start(line, asterisk)
    talking: list[Placed] = []
    ringing: list[Placed] = []
    dead: list[Placed] = []
    killed_at_ms: list[int] = []
    for turn in range(KILLS):
        talking.append(asterisk.call(f"talks-{turn}", "999210000010", scenarios.caller_talks(CALLER, TALK_MS)))
        ringing.append(asterisk.call(f"rings-{turn}", "999270000010", scenarios.caller_gives_up(CALLER, RINGS_MS)))
        time.sleep(chosen.uniform(0, 1.2))
        killed_at_ms.append(time.time_ns() // 1_000_000)
        asterisk.kill_router()
        dead.append(asterisk.call(f"dead-{turn}", "999210000010", scenarios.caller_refused(CALLER, 503)).wait())
        asterisk.start_router()
        asterisk.await_router()
    for placed in (*talking, *ringing):
        placed.wait()
    calls = asterisk.calls_of([placed.address for placed in (*talking, *ringing, *dead)])
    assert [placed.code for placed in dead] == [0] * KILLS  # refused with 503, and with nothing else
    assert {calls[placed.address].ended.reason for placed in dead} == {"ROUTER UNAVAILABLE"}
    unharmed = 0
    for placed, at_ms in zip((*talking, *ringing), killed_at_ms * 2, strict=True):
        ended = calls[placed.address].ended
        if ended.reason == "ROUTER UNAVAILABLE":  # killed before it had answered this one
            assert (ended.answered_at_ms, ended.cause) == (None, 34)
            continue
        assert (ended.release_side, ended.reason) == ("caller", ""), (
            placed.received,
            ended,
            calls[placed.address].legs,
        )
        if placed in talking:
            assert ended.duration_ms >= TALK_MS - 100
        unharmed += ended.started_at_ms < at_ms < ended.ended_at_ms
    assert unharmed >= KILLS // 2  # they were really up when the router was killed
    check(line, asterisk, f"F7 router killed, {unharmed} calls ringing or talking, {KILLS} new ones", KILLS)


@pytest.mark.timeout(200)
def test_a_router_that_hangs_costs_new_calls_the_deadline_and_the_others_nothing(
    line: FaultLine, asterisk: Line
) -> None:
    start(line, asterisk)
    talks = asterisk.call("talks", "999210000010", scenarios.caller_talks(CALLER, 9_000))
    until(lambda: ANSWERED in talks.received, "it is answered")
    router = asterisk.router_pid
    os.kill(router, signal.SIGSTOP)  # the kernel goes on accepting its connections
    try:
        hung = [
            asterisk.call(f"hung-{number}", "999210000010", scenarios.caller_refused(CALLER, 503))
            for number in range(5)
        ]
        assert [placed.wait().code for placed in hung] == [0] * 5
    finally:
        os.kill(router, signal.SIGCONT)
    beat, woken = asterisk.directory / "beat", time.time()
    until(lambda: beat.stat().st_mtime > woken + 1, "the router beats again")  # and has done with those who have gone
    # On a machine that is busy the first may still find the database slow.
    later = (asterisk.call(f"after-{n}", "999210000010", scenarios.caller_talks(CALLER, 500)) for n in range(5))
    assert any(placed.wait().code == 0 for placed in later)
    assert talks.wait().code == 0
    calls = asterisk.calls_of([placed.address for placed in (talks, *hung)])
    for placed in hung:
        ended = calls[placed.address].ended
        assert (ended.reason, ended.cause, ended.release_side) == ("ROUTER UNAVAILABLE", 34, "us")
        assert ended.ended_at_ms - ended.started_at_ms >= DEADLINE_MS - 100
    assert calls[talks.address].ended.duration_ms >= 8_900
    check(line, asterisk, "F7 router hung", len(hung))
