"""What the real Asterisk makes of a hunt: release rules, PDD and set-up limits, huntstop, redirects, ring-back.

The same hunts go through the simulator's, which must tell the same story.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hunt_calls import ANY_END, GIVES_UP, HUNTS, PDD_SECONDS, SETUP_MS, Hunt, Hunted, dial, place_hunts, plan, variables
from journal_events import events_of
from real_calls import until
from real_line import CALLER, Line
from scripted_router import ScriptedRouter, mset

from schemas.events import CallEnded, LegEnded
from schemas.journal import encode_line
from schemas.refusals import SIP_OF_CAUSE
from simulator import lines
from simulator.hunt import Hunt as SimulatedHunt
from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
SLACK_MS = 700
NOT_SIMULATED = ("302 without user", "a reason for the end", "an odd reason for the end")
OVER = "SETUP TIME OVER"
# What ended each leg (SIP code, or the cause where the vendor sent none), the call's cause and its reason.
EXPECTED: dict[str, tuple[list[int], int, str]] = {
    "plain": ([503, 200], 16, ""),
    "silent within PDD": ([18, 200], 16, ""),
    "silent, last": ([18], 34, ""),
    "rings within PDD": ([0, 200], 16, ""),
    "answers without ringing": ([200], 16, ""),
    "answers without ringing, too late": ([18, 200], 16, ""),
    "bare 183": ([200], 16, ""),
    "silent, no PDD": ([18], 34, ""),
    "set-up over, ringing": ([0], 19, OVER),
    "set-up over, silent": ([18], 34, OVER),
    "302": ([302, 200], 16, ""),
    "302, last": ([302], 34, ""),
    "302 without user": ([302, 200], 16, ""),
    "302, stop and map": ([302], 22, ""),
    "huntstop": ([503], 34, ""),
    "huntstop over continue": ([486], 21, ""),
    "continue": ([486, 200], 16, ""),
    "stop": ([503], 34, ""),
    "stop and map": ([503], 17, ""),
    "continue and map": ([503], 22, ""),
    "continue and map, and a leg follows": ([503, 505], 34, ""),
    "vendors' loop": ([483, 200], 16, ""),
    "rings out, then a loop": ([0, 483], 34, ""),
    "rule for no answer, and a loop": ([483, 200], 16, ""),
    "bad request": ([400, 200], 16, ""),
    "busy, continue, then a bad request": ([486, 400], 34, ""),
    "ended without a CANCEL": ([487, 200], 16, ""),
    "ended without a CANCEL, last": ([404, 487], 34, ""),
    "rule for the unknown cause": ([487], 19, ""),
    "map to our account's cause": ([503], 21, ""),
    "SIP code before cause": ([486, 200], 16, ""),
    "vendor before customer": ([486, 200], 16, ""),
    "vendor's first only": ([503, 503], 22, ""),
    "customer before default": ([486, 200], 16, ""),
    "customer maps": ([503], 21, ""),
    "rule for another code": ([503, 200], 16, ""),
    "a hundred rules": ([503], 17, ""),
    "stop after no answer": ([0], 17, ""),
    "stop after no progress": ([18], 34, ""),
    "announcement, then ringing": ([503, 200], 16, ""),
    "vendor asks for a transfer": ([200], 16, ""),
    "cancelled": ([16], 16, ""),
    "refused, then cancelled": ([503, 16], 16, ""),
    "busy, continue, then cancelled": ([486, 16], 16, ""),
    "a reason for a 503": ([503, 200], 16, ""),
    "a reason for a 503, last": ([503], 34, ""),
    "a reason for a 503, and a leg follows": ([503, 400], 34, ""),
    "a reason for the end": ([200], 16, ""),
    "an odd reason for the end": ([200], 16, ""),
    "own ring-back over an announcement": ([503, 200], 16, ""),
    "own ring-back, silent": ([18, 200], 16, ""),
}


@pytest.fixture(scope="module")
def hunted(own_line: Line) -> Iterator[Hunted]:
    """All of them, with a scripted router in the place of the real one."""
    if own_line.node.poll() is not None:
        own_line.start_node()
    own_line.await_node()
    own_line.kill_router()
    try:
        yield place_hunts(own_line)
    finally:
        own_line.start_router()
        own_line.await_router()


@pytest.mark.parametrize("name", HUNTS)
def test_a_hunt(hunted: Hunted, name: str) -> None:
    seen = hunted.seen[name]
    ended, legs = seen.call.ended, seen.call.legs
    assert ([leg.sip_code or leg.cause for leg in legs], ended.cause, ended.reason) == EXPECTED[name]
    assert ended.legs == len(legs)
    heard = 200 if ended.cause == 16 else SIP_OF_CAUSE.get(ended.cause, 503)
    assert seen.finals[-1 if HUNTS[name].caller is GIVES_UP else 0] == (
        487 if HUNTS[name].caller is GIVES_UP else heard
    )


@pytest.mark.parametrize("name", [name for name in HUNTS if HUNTS[name].caller is not GIVES_UP])
def test_a_refused_caller_gets_the_cause_too(hunted: Hunted, name: str) -> None:
    seen = hunted.seen[name]
    assert seen.placed.reasons == ([] if seen.code == 200 else [f"Q.850;cause={seen.call.ended.cause}"])


@pytest.mark.parametrize("name", [name for name in HUNTS if name not in NOT_SIMULATED])
def test_the_simulator_tells_the_same_story(hunted: Hunted, name: str) -> None:
    seen = hunted.seen[name]
    assert [story(event) for event in _simulated(name)] == [
        story(event) for event in [*seen.call.legs, seen.call.ended]
    ]


def story(event: LegEnded | CallEnded) -> dict[str, Any]:
    """What must be equal."""
    names = ("leg", "legs", "cause", "sip_code", "dial_status", "release_side", "reason", "facts", "last_facts")
    found = {name: getattr(event, name, None) for name in names}
    return found | {"answered": event.answered_at_ms is not None, "sign": event.pdd_ms is not None}


def _simulated(name: str) -> list[LegEnded | CallEnded]:
    wanted = HUNTS[name]
    said = dict(pair.split("=", 1) for pair in variables(wanted, lambda route: f"PJSIP/{route}"))
    patience_ms = 800 if wanted.caller is GIVES_UP else 60_000
    call = lines.Call("sim1-1800000000-1800000000.7", 1_800_000_000_000, "c-x", "127.0.0.1:5060", "7", "1", patience_ms)
    hunt = SimulatedHunt(call, lambda number, _facts: plan(wanted.routes[number - 1]))
    outputs = hunt.take_routes(said, call.started_at_ms + 5)
    while hunt.next_at_ms is not None:
        outputs += hunt.step()
    events = events_of(encode_line(one.kind, "1.0", one.values) for one in outputs if isinstance(one, lines.Line))
    return [event for event in events if isinstance(event, LegEnded | CallEnded)]


def test_the_limits_are_kept(hunted: Hunted) -> None:
    for name, most_ms in (("silent within PDD", PDD_SECONDS * 1000), ("set-up over, silent", SETUP_MS)):
        leg = hunted.seen[name].call.legs[0]
        assert abs(leg.ended_at_ms - leg.started_at_ms - most_ms) < SLACK_MS, name


def test_whoever_is_given_up_is_told_so(hunted: Hunted) -> None:
    assert hunted.messages["silent"].count("CANCEL sip:") >= 1
    assert hunted.messages["slow"].count("CANCEL sip:") >= 1


def test_a_vendor_is_sent_one_hop_fewer_than_the_caller_had_left(hunted: Hunted) -> None:
    invites = [text for text in re.split(r"^-{20,}", hunted.messages["quick"], flags=re.M) if "\nINVITE sip:" in text]
    assert invites
    assert all(re.findall(r"^Max-Forwards: (.*?)\r?$", text, re.M) == ["69"] for text in invites)


def test_no_vendor_is_told_a_cause(hunted: Hunted) -> None:
    """Asterisk's own Reason in a CANCEL would be 0, 127, or the cause of a leg before."""
    got = [text for name in hunted.messages for text in received(hunted.messages[name])]
    assert {"ACK", "BYE", "CANCEL", "INVITE"} <= {text.split()[0] for text in got}
    assert [text for text in got if "\nReason:" in text] == []


@pytest.mark.parametrize(("name", "cause"), [("a reason for the end", 27), ("an odd reason for the end", 127)])
def test_a_vendors_reason_stays_on_its_leg(hunted: Hunted, name: str, cause: int) -> None:
    seen = hunted.seen[name]
    (leg,) = seen.call.legs
    # Where the vendor's channel ends behind the caller's, its cause comes too late: 16, as of any answered leg.
    assert leg.cause in (cause, 16)
    assert (leg.release_side, leg.dial_status) == ("callee", "ANSWER")
    assert (seen.call.ended.cause, seen.call.ended.release_side) == (16, "callee")
    (bye,) = [text for text in received(seen.placed.whole) if text.startswith("BYE")]
    assert re.findall(r"^Reason: (.*)$", bye, re.M) == ["Q.850;cause=16"]


def test_a_transfer_is_refused_at_once(hunted: Hunted) -> None:
    messages = hunted.messages["refers"]
    assert messages.count("\nREFER sip:") == 1, "sent again: nobody has answered"
    assert messages.count("SIP/2.0 603 Decline") == 1
    assert "INVITE" not in hunted.messages["trap"]


def received(messages: str) -> list[str]:
    """Each message that a vendor received."""
    return re.findall(r"message received [^\n]*\n\n(.*?)\n(?=-{20,}|\Z)", messages.replace("\r", ""), re.S)


def test_a_redirect_is_never_followed(hunted: Hunted) -> None:
    assert "302 Moved Temporarily" in hunted.messages["redirects"]
    assert "302 Moved Temporarily" in hunted.messages["redirects-bare"]
    assert "INVITE" not in hunted.messages["trap"]


def test_the_caller_hears_ringing_again_after_an_announcement(hunted: Hunted, own_line: Line) -> None:
    """To the second vendor's 180, with media open from the first's announcement, Asterisk plays the tone itself."""
    assert hunted.seen["announcement, then ringing"].progress == [183, 183]
    hunt = Hunt(("announces:1", "rings:1"))
    said = variables(hunt, lambda route: dial(route, hunted.spots))
    router = ScriptedRouter(own_line.router_port, lambda _header, session: mset(session, *said))
    try:
        placed = own_line.call("hunt-tone", "7999", ANY_END)
        until(lambda: sum("183 " in line for line in placed.received) == 2, "the second vendor rings")
        before = _packets_to_the_caller(own_line)
        time.sleep(1)
        assert _packets_to_the_caller(own_line) - before > 20  # 50 a second
        placed.wait()
    finally:
        router.close()


def _packets_to_the_caller(line: Line) -> int:
    """What `pjsip show channelstats` has as transmitted on the caller's channel."""
    text = line.console("pjsip show channelstats")
    (row,) = [row for row in text.splitlines() if "c-sipp-customer" in row]
    return int(row.split()[-5])


def test_pjsip_itself_refuses_a_call_without_a_common_codec(own_line: Line) -> None:
    """The dialplan never hears of it, so there is no record; and PJSIP tells no cause beside its 488. Known limit."""
    own_line.await_node()
    strange = scenarios.caller_refused(CALLER, 488).replace("RTP/AVP 8 0", "RTP/AVP 18")
    placed = own_line.call("hunt-codec", "7998", strange).wait()
    assert placed.code == 0, placed.said()
    assert placed.reasons == []


def test_own_ring_back_lets_nothing_of_the_vendors_through(hunted: Hunted) -> None:
    for name in ("own ring-back over an announcement", "own ring-back, silent"):
        assert set(hunted.seen[name].progress) == {180}
    assert hunted.seen["own ring-back, silent"].call.legs[0].cause == 18, "our own ringing is no vendor's sign of life"
