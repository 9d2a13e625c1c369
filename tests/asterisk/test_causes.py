"""What Asterisk makes of causes, of vendors' SIP codes, and of a router that answers badly: measured, not assumed."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from real_calls import Seen
from real_line import CALLER, VENDOR_CODES, Line
from scripted_router import ScriptedRouter, facts, mset

from schemas.agi import DEFAULT_STOP_CAUSES, VENDOR_ACCOUNT_CAUSES
from schemas.refusals import SIP_OF_CAUSE
from simulator import sip_causes
from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
_AT_ONCE = 8
_CAUSES = (1, 2, 3, 5, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 28, 29, 31, 34, 38, 41, 42, 44, 50, 58, 66, 102, 127)
_ELSEWHERE = 26  # of which Asterisk also says `SIP;cause=200`
_ANY_END = scenarios.callers_of_all_kinds(50, 60).replace("[field0]", "[service]").replace("[field1]", CALLER)


def allow(callee: str, routes: int = 1) -> list[str]:
    """The answer that sends a call to vendor 3, so many times, ROUTES last."""
    pairs = [f"CALL_FACTS={facts('receivable')}", "REASON=", "STOP_CAUSES=17-19-22-28", "MAX_MS=5000", "DECISION=ALLOW"]
    for number in range(1, routes + 1):
        pairs += [f"ROUTE_{number}_DIAL=PJSIP/{callee}@v-sipp-vendor-3", f"ROUTE_{number}_TIMEOUT=5"]
        pairs.append(f"ROUTE_{number}_FACTS={facts('payable')}")
    return [*pairs, f"ROUTES={routes}"]


def answer(header: dict[str, str], session: Any) -> None:
    """000CCC…: refused with that cause; 001X…: a broken answer; anything else: to vendor 3, twice."""
    callee = header["agi_arg_4"]
    if callee.startswith("000"):
        refused = ["DECISION=REFUSE", "REASON=TEST", f"REFUSE_CAUSE={int(callee[3:6])}", "ROUTES=0"]
        mset(session, f"CALL_FACTS={facts('receivable')}", *refused)
    elif callee.startswith("001"):
        BROKEN[callee[3:]](session)
    else:
        mset(session, *allow(callee, routes=2))


def _cut_in_half(session: Any) -> None:
    mset(session, *allow("486000")[:-1])  # all but ROUTES


def _say_nothing(session: Any) -> None:
    time.sleep(1)


def _talk_rubbish(session: Any) -> None:
    session.wfile.write(b"HELLO\n\x00\xff\nEXEC\nSET VARIABLE\n")
    session.rfile.readline()


def _forget_the_word(session: Any) -> None:
    mset(session, *(pair for pair in allow("486000") if not pair.startswith("DECISION")))


def _say_another_word(session: Any) -> None:
    mset(session, *(pair.replace("ALLOW", "MAYBE") for pair in allow("486000")))


def _close_at_once(session: Any) -> None:
    session.connection.close()


BROKEN = {
    "1": _cut_in_half,
    "2": _say_nothing,
    "3": _talk_rubbish,
    "4": _forget_the_word,
    "5": _say_another_word,
    "6": _close_at_once,
}


@pytest.fixture(scope="module")
def told(real_line: Line, real_calls: dict[str, Seen], dead_router_calls: dict[str, Seen]) -> Iterator[dict[str, Seen]]:
    """Calls by what was dialled, with a scripted router in the place of the real one."""
    assert real_calls
    assert dead_router_calls
    real_line.kill_router()
    router = ScriptedRouter(real_line.router_port, answer)
    try:
        numbers = [f"000{cause:03d}" for cause in _CAUSES]
        numbers += [f"{code}000" for code in VENDOR_CODES]
        numbers += [f"001{kind}" for kind in BROKEN]
        yield _place(real_line, numbers)
    finally:
        router.close()
        real_line.start_router()
        real_line.await_router()


def _place(line: Line, numbers: Sequence[str]) -> dict[str, Seen]:
    placed = {}
    for first in range(0, len(numbers), _AT_ONCE):
        batch = {number: line.call(f"told-{number}", number, _ANY_END) for number in numbers[first : first + _AT_ONCE]}
        for one in batch.values():
            one.wait()
        placed |= batch
    calls = line.calls_of([one.address for one in placed.values()])
    return {number: Seen(one, calls[one.address]) for number, one in placed.items()}


@pytest.mark.parametrize("cause", _CAUSES)
def test_the_sip_code_of_a_cause(told: dict[str, Seen], cause: int) -> None:
    seen = told[f"000{cause:03d}"]
    assert seen.code == SIP_OF_CAUSE.get(cause, 503)
    assert (seen.call.ended.cause, seen.call.ended.reason) == (cause, "TEST")
    assert seen.placed.reasons[-1] == f"Q.850;cause={cause}"
    assert len(seen.placed.reasons) == (2 if cause == _ELSEWHERE else 1)


@pytest.mark.parametrize("code", VENDOR_CODES)
def test_a_vendors_code_becomes_its_cause_and_the_hunt_stops_or_goes_on(told: dict[str, Seen], code: int) -> None:
    seen = told[f"{code}000"]
    cause = sip_causes.cause_of_sip(code)
    legs = seen.call.legs
    assert [leg.sip_code for leg in legs] == [code] * len(legs)
    assert {leg.cause for leg in legs} == {cause}
    assert {leg.dial_status for leg in legs} == {sip_causes.dial_status_of_cause(cause)}
    assert {leg.release_side for leg in legs} == {"callee"}
    assert len(legs) == (1 if cause in DEFAULT_STOP_CAUSES else 2)
    # What says nothing about the number, or is a vendor's word on our account, is not passed on.
    final = 34 if cause in VENDOR_ACCOUNT_CAUSES else cause
    assert (seen.call.ended.cause, seen.call.ended.release_side) == (final, "us")
    assert seen.code == SIP_OF_CAUSE.get(final, 503)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_router_that_does_not_say_allow_with_routes_is_no_router(told: dict[str, Seen], kind: str) -> None:
    seen = told[f"001{kind}"]
    assert seen.code == 503
    assert (seen.call.ended.reason, seen.call.ended.cause) == ("ROUTER UNAVAILABLE", 34)
    assert (seen.call.ended.legs, seen.call.legs, seen.call.started) == (0, [], [])
