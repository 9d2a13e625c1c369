"""Legs by their packets, against the reading of them that the soak has (bench/soak/wire.py), and what it waits for."""

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak import wire as oracle
from router.agent import wire as module
from router.agent.hep import Packet
from router.agent.journal_files import Line
from router.agent.sip_head import read_head
from router.agent.wire import LegKey, Wire, closed_leg
from schemas.journal import encode_line
from schemas.wire_times import WireLeg

NODE, CALLER, VENDOR = ("192.0.2.1", 5060), ("203.0.113.9", 40_000), ("198.51.100.7", 5060)


def closing(call_id: str, kind: str = "CALL_END", at: int = 0) -> Line:
    """A line that closes the leg of this Call-ID, as far as packets matter."""
    return Line("head", at, encode_line(kind, "1796000000.0", {"call": "ast1-1-1.1", "sid": call_id}))


def message(
    first: str, cseq: str, call_id: str = "abc@x", tag: str = "1", to_tag: str = "", branch: str = "z9"
) -> bytes:
    to = f"<sip:44@x>;tag={to_tag}" if to_tag else "<sip:44@x>"
    lines = [first, f"Via: SIP/2.0/UDP x;rport;branch={branch}", f"From: <sip:1@x>;tag={tag}", f"To: {to}"]
    lines += [f"Call-ID: {call_id}", f"CSeq: {cseq}"]
    return "\r\n".join([*lines, "", ""]).encode()


def request(method: str, cseq: int = 1, **more: str) -> bytes:
    return message(f"{method} sip:44@x SIP/2.0", f"{cseq} {method}", **more)


def response(status: int, method: str = "INVITE", cseq: int = 1, **more: str) -> bytes:
    return message(f"SIP/2.0 {status} x", f"{cseq} {method}", **more)


def went(packet: Packet) -> bool | None:
    ours = [place == NODE for place in ((packet.source, packet.source_port), (packet.target, packet.target_port))]
    return ours[0] if ours[0] != ours[1] else None


class World:
    """A node's packets, one a millisecond, for the wire and for the oracle."""

    def __init__(self, peer: tuple[str, int] = CALLER) -> None:
        self.peer = peer
        self.wire = Wire(went)
        self.messages: list[oracle.Message] = []
        self.now_ms = 1_000

    def _take(self, source: tuple[str, int], target: tuple[str, int], payload: bytes) -> None:
        self.now_ms += 1
        head = read_head(payload)
        assert head is not None
        self.wire.take(Packet(*source, *target, self.now_ms, payload), head)
        seen = oracle.read_message(oracle.Packet(self.now_ms * 1_000, source, target, payload))
        assert seen is not None
        self.messages.append(seen)

    def came(self, *payloads: bytes) -> None:
        for payload in payloads:
            self._take(self.peer, NODE, payload)

    def went(self, *payloads: bytes) -> None:
        for payload in payloads:
            self._take(NODE, self.peer, payload)

    def word(self, call_id: str = "abc@x", kind: str = "CALL_END") -> WireLeg | None:
        line = closing(call_id, kind)
        return self.wire.of([line], 0).get(line)


def answered(world: World, outbound: bool) -> None:
    theirs, ours = (world.went, world.came) if outbound else (world.came, world.went)
    theirs(request("INVITE"))
    ours(response(100), response(180), response(200))
    theirs(request("ACK"))


@pytest.mark.parametrize("outbound", [True, False])
@pytest.mark.parametrize("bye_comes", [True, False])
def test_an_answered_leg_is_from_its_first_200_to_its_first_bye(outbound: bool, bye_comes: bool) -> None:
    world = World()
    answered(world, outbound)
    at_ms = world.now_ms - 1
    (world.came if outbound else world.went)(response(200))  # again: the ACK was lost
    if bye_comes:
        world.came(request("BYE", 2))
        ended_ms = world.now_ms
        world.went(response(200, "BYE", 2))
    else:
        world.went(request("BYE", 2))
        ended_ms = world.now_ms
    world.came(request("BYE", 3))
    world.went(response(481, "BYE", 3))
    kind = "LEG_RESULT" if outbound else "CALL_END"
    assert world.word(kind=kind) == WireLeg(at_ms, ended_ms)
    assert world.word(kind="CALL_END" if outbound else "LEG_RESULT") is None  # it is not that call's other leg


def test_a_bye_that_asterisk_refuses_or_never_answers_ends_nothing() -> None:
    world = World(VENDOR)
    answered(world, outbound=True)
    at_ms = world.now_ms - 1
    world.came(request("BYE", 7))
    assert world.word(kind="LEG_RESULT") == WireLeg(at_ms)
    world.went(response(481, "BYE", 7))
    assert world.word(kind="LEG_RESULT") == WireLeg(at_ms)
    world.came(request("BYE", 8))
    ended_ms = world.now_ms
    world.went(response(200, "BYE", 8))
    assert world.word(kind="LEG_RESULT") == WireLeg(at_ms, ended_ms)


def test_a_caller_who_cancels_is_refused_and_a_vendors_late_200_an_answer() -> None:
    world = World()
    world.came(request("INVITE"), request("CANCEL"))
    world.went(response(200, "CANCEL"), response(487))
    assert world.word() == WireLeg(is_refused=True)
    world = World(VENDOR)
    world.went(request("INVITE"), request("CANCEL"))
    world.came(response(200))
    at_ms = world.now_ms
    world.went(request("ACK"), request("BYE", 2))
    assert world.word(kind="LEG_RESULT") == WireLeg(at_ms, world.now_ms)


def test_a_200_to_no_transaction_of_ours_is_none() -> None:
    """Asterisk leaves it; a vendor may send it long before he answers."""
    world = World(VENDOR)
    world.went(request("INVITE"), request("INVITE", branch="z10"))  # with credentials, the second time
    world.came(response(200), response(200, branch="else"))
    assert world.word(kind="LEG_RESULT") == WireLeg()
    world.came(response(200, branch="z10"))
    assert world.word(kind="LEG_RESULT") == WireLeg(world.now_ms)


def test_an_invite_that_was_cancelled_and_that_no_line_tells_of_is_told_once() -> None:
    world = World()
    for call_id in ("told", "untold", "sent"):
        world.came(request("INVITE", call_id=call_id))
        world.went(*(response(487, call_id=call_id) for _ in range(2)))
    untold_ms = world.now_ms - 4
    world.went(request("INVITE", call_id="a vendor's"))
    world.came(response(487, call_id="a vendor's"))
    assert world.wire.unheard(60) == []
    world.word("told")
    world.wire.of([closing("sent")], 0)
    world.wire.forget([closing("sent")])
    (found,) = world.wire.unheard(-1)
    assert (found.sip_call_id, found.sip_code, found.method) == ("untold", 487, "INVITE")
    assert (found.address, found.port, found.at_ms) == (*CALLER, untold_ms)
    assert world.wire.unheard(-1) == []


def test_what_a_vendor_refuses_is_the_channels_own_matter() -> None:
    world = World(VENDOR)
    world.went(request("INVITE"))
    world.came(response(503))
    assert world.word(kind="LEG_RESULT") == WireLeg()


def test_a_refused_reinvite_changes_nothing() -> None:
    world = World()
    answered(world, outbound=False)
    at_ms = world.now_ms - 1
    world.came(request("INVITE", 2, to_tag="9"))
    world.went(response(488, "INVITE", 2))
    assert world.word() == WireLeg(at_ms)


def test_a_call_id_of_two_senders_or_of_a_call_that_came_back_has_no_word() -> None:
    world = World()
    answered(world, outbound=False)
    world.came(request("INVITE", tag="another"))
    assert world.word() is None
    world = World()
    answered(world, outbound=True)
    world.came(request("INVITE"))
    assert world.word() is None
    assert world.word(kind="LEG_RESULT") is None


def test_packets_that_are_not_the_nodes_or_all_its_own_are_none() -> None:
    world = World()
    for source, target in ((CALLER, VENDOR), (NODE, NODE)):
        world._take(source, target, request("INVITE"))
        world._take(target, source, response(200))
    assert world.word() is None


def test_a_line_waits_for_the_bye_and_no_longer_than_told() -> None:
    world = World()
    answered(world, outbound=False)
    line = closing("abc@x")
    begin = time.monotonic()
    timer = threading.Timer(0.1, lambda: world.went(request("BYE", 2)))
    timer.start()
    assert world.wire.of([line], 5)[line].ended_ms is not None
    timer.join()
    assert time.monotonic() - begin < 4
    world = World()
    answered(world, outbound=False)
    begin = time.monotonic()
    assert world.wire.of([line], 0.05)[line].ended_ms is None
    assert time.monotonic() - begin >= 0.05
    begin = time.monotonic()
    assert (
        world.wire.of([line], 60)[line].ended_ms is None
    )  # it was waited for: Kafka was away, the batch is sent again
    assert time.monotonic() - begin < 30


def test_lines_of_unknown_legs_wait_for_nothing() -> None:
    begin = time.monotonic()
    assert Wire(went).of([closing("abc@x"), Line("h", 0, b"noise"), closing("")], 60) == {}
    assert time.monotonic() - begin < 30


def test_legs_are_forgotten_once_they_are_sent() -> None:
    world = World()
    answered(world, outbound=False)
    world.wire.forget([closing("abc@x", "LEG_RESULT")])
    assert world.word() is not None
    world.wire.forget([closing("abc@x")])
    assert world.word() is None


def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_YOUNG", 3)
    monkeypatch.setattr(module, "MOST_ANSWERED", 2)
    world = World()
    for number in range(4):
        world.came(request("INVITE", call_id=f"answered-{number}"))
        world.went(response(200, call_id=f"answered-{number}"))
    for number in range(5):
        world.came(request("INVITE", call_id=f"young-{number}"))
    known = [number for number in range(4) if world.word(f"answered-{number}")]
    assert known == [2, 3]
    assert [number for number in range(5) if world.word(f"young-{number}")] == [2, 3, 4]


@pytest.mark.parametrize("call_id", ["a%7Cb@x", "abc", "a" * 128, "%00%0D%0A", "1%22-2"])
def test_the_call_id_of_a_line_is_the_wires(call_id: str) -> None:
    raw = closing("x").raw.replace(b"|sid=x|", f"|sid={call_id}|".encode())
    key = closed_leg(raw)
    assert key is not None
    assert key.outbound is False
    assert len(key.call_id) <= 128
    assert closed_leg(closing("x", "LEG_RESULT").raw) == LegKey(b"x", outbound=True)


EVENTS = ("INVITE", "18x", "200", "486", "487", "CANCEL", "BYE comes", "BYE refused", "BYE goes", "re-INVITE", "ACK")


@given(st.booleans(), st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_order_of_messages_is_read_as_the_oracle_reads_it(outbound: bool, drawn: Sequence[str]) -> None:
    world = World()
    theirs, ours = (world.went, world.came) if outbound else (world.came, world.went)
    theirs(request("INVITE"))
    for at, event in enumerate(drawn, start=2):
        match event:
            case "INVITE" | "ACK" | "CANCEL":
                theirs(request(event))
            case "18x":
                ours(response(183))
            case "200" | "486" | "487":
                ours(response(int(event)))
            case "BYE comes":
                world.came(request("BYE", at))
                world.went(response(200, "BYE", at))
            case "BYE refused" if any(one.method == "BYE" and one.status < 300 for one in world.messages):
                continue  # the oracle does not know which BYE is refused
            case "BYE refused":
                world.came(request("BYE", at))
                world.went(response(481, "BYE", at))
            case "BYE goes":
                world.went(request("BYE", at))
            case _:
                world.came(request("INVITE", at, to_tag="2"))
    leg = oracle.legs_of(world.messages, NODE)["abc@x"]
    word = world.word(kind="LEG_RESULT" if outbound else "CALL_END")
    assert word is not None
    assert word.answered_ms == (None if leg.answered_us is None else leg.answered_us // 1_000)
    if leg.answered_us is not None and (leg.ended_us is None or leg.ended_us > leg.answered_us):
        assert word.ended_ms == (None if leg.ended_us is None else leg.ended_us // 1_000)
    if not outbound and word.answered_ms is None:
        assert word.is_refused == (leg.final >= 300)
