"""Legs by their packets: against the soak's own reading of them (bench/soak/wire.py), and against those who would have
their legs shorter, the other side's longer, or none.
"""

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.journal.files import Line
from agent.wire import legs as module
from agent.wire.hep import Packet
from agent.wire.legs import PROMPT_MS, Wire, tag_of
from agent.wire.sip_head import read_head
from bench.soak import wire as oracle
from schemas.journal import encode_line
from schemas.wire_times import WireLeg

NODE, PEER = ("192.0.2.1", 5060), ("203.0.113.9", 40_000)
BOTH = pytest.mark.parametrize("outbound", [True, False], ids=["vendor's", "customer's"])


def closing(tag: str = "ours", call_id: str = "abc%40x", kind: str = "CALL_END") -> Line:
    """A line that closes the leg with this tag, as far as packets matter."""
    sid = f"{call_id}@{tag}" if tag else call_id
    return Line("head", 0, encode_line(kind, "1796000000.0", {"call": "ast1-1-1.1", "sid": sid}))


def went(packet: Packet) -> bool | None:
    places = [(packet.source, packet.source_port) == NODE, (packet.target, packet.target_port) == NODE]
    return places[0] if places[0] != places[1] else None


class World:
    """A node's packets, one a millisecond, for the wire and for the oracle."""

    def __init__(self) -> None:
        self.wire = Wire(went)
        self.messages: list[oracle.Message] = []
        self.now_ms = 1_000_000

    def take(self, payload: bytes, *, goes: bool) -> int:
        """A message; when it passed."""
        self.now_ms += 1
        source, target = (NODE, PEER) if goes else (PEER, NODE)
        head = read_head(payload)
        assert head is not None
        self.wire.take(Packet(*source, *target, self.now_ms, payload), head)
        seen = oracle.read_message(oracle.Packet(self.now_ms * 1_000, source, target, payload.lstrip()))
        assert seen is not None
        self.messages.append(seen)
        return self.now_ms

    def word(self, tag: str = "ours") -> WireLeg | None:
        line = closing(tag)
        return self.wire.of([line], 0).get(line)


class Dialog:
    """What both sides of a leg say. `outbound`: we have sent the INVITE."""

    def __init__(
        self, world: World, outbound: bool, call_id: str = "abc@x", ours: str = "ours", theirs: str = "theirs"
    ) -> None:
        self.world, self.outbound, self.call_id, self.ours, self.theirs = world, outbound, call_id, ours, theirs

    def request(
        self, method: str, cseq: int, *, goes: bool, branch: str = "", to: str | None = None, more: str = ""
    ) -> int:
        tags = (self.ours, self.theirs) if goes else (self.theirs, self.ours)
        to = tags[1] if to is None else to
        branch = branch or f"{method}-{cseq}"
        return self._say(f"{method} sip:44@x SIP/2.0", f"{cseq} {method}", tags[0], to, branch, more, goes)

    def answer(
        self,
        status: int,
        method: str,
        cseq: int,
        *,
        goes: bool,
        branch: str = "",
        to: str | None = None,
        more: str = "",
    ) -> int:
        tags = (self.theirs, self.ours) if goes else (self.ours, self.theirs)
        to = ("" if status == 100 else tags[1]) if to is None else to
        branch = branch or f"{method}-{cseq}"
        return self._say(f"SIP/2.0 {status} x", f"{cseq} {method}", tags[0], to, branch, more, goes)

    def _say(self, first: str, cseq: str, from_tag: str, to_tag: str, branch: str, more: str, goes: bool) -> int:
        tags = [f";tag={tag}" if tag else "" for tag in (from_tag, to_tag)]
        lines = [
            first,
            f"Via: SIP/2.0/UDP x;rport;branch={branch}",
            f"From: <sip:1@x>{tags[0]}",
            f"To: <sip:2@x>{tags[1]}",
        ]
        lines += [f"Call-ID: {self.call_id}", f"CSeq: {cseq}", *([more] if more else [])]
        return self.world.take("\r\n".join([*lines, "", ""]).encode(), goes=goes)

    def invite(self, cseq: int = 1, branch: str = "") -> int:
        """The INVITE that begins it."""
        return self.request("INVITE", cseq, goes=self.outbound, to="", branch=branch)

    def final(self, status: int, cseq: int = 1, branch: str = "", to: str | None = None) -> int:
        """An answer to the INVITE."""
        return self.answer(status, "INVITE", cseq, goes=not self.outbound, branch=branch, to=to)

    def ack(self, cseq: int = 1, branch: str = "ack", to: str | None = None) -> int:
        return self.request("ACK", cseq, goes=self.outbound, branch=branch, to=to)

    def answered(self) -> int:
        """From the INVITE to the ACK; when its 200 passed."""
        self.invite()
        self.final(100)
        self.final(180)
        at_ms = self.final(200)
        self.ack()
        return at_ms

    def hung_up(self, cseq: int = 2) -> int:
        """By the other side; when the BYE passed."""
        at_ms = self.request("BYE", cseq, goes=False)
        self.answer(200, "BYE", cseq, goes=True)
        return at_ms


@BOTH
@pytest.mark.parametrize("we_end_it", [True, False])
def test_an_answered_leg_is_from_its_first_200_to_its_first_bye(outbound: bool, we_end_it: bool) -> None:
    world = World()
    leg = Dialog(world, outbound)
    at_ms = leg.answered()
    leg.final(200)  # again: the ACK was lost
    leg.ack()
    ended_ms = leg.request("BYE", 7, goes=True) if we_end_it else leg.hung_up()
    leg.request("BYE", 8, goes=False)
    leg.answer(481, "BYE", 8, goes=True)
    assert world.word() == WireLeg(at_ms, ended_ms, is_ended_by_us=outbound and we_end_it)


@BOTH
@pytest.mark.parametrize("answer", [481, None])
def test_a_bye_that_asterisk_does_not_take_is_no_end(outbound: bool, answer: int | None) -> None:
    """One that looks right here and is wrong to PJSIP: with the same number, branch and tags its bytes are others."""
    world = World()
    leg = Dialog(world, outbound)
    at_ms = leg.answered()
    leg.request("BYE", 7, goes=False, more="X-What: PJSIP reads this otherwise")
    if answer:
        leg.answer(answer, "BYE", 7, goes=True)
    world.now_ms += 900
    first_ms = leg.request("BYE", 7, goes=False)
    leg.request("BYE", 7, goes=False)  # its answer takes a while
    leg.answer(200, "BYE", 7, goes=True)
    assert world.word() == WireLeg(at_ms, first_ms)


@BOTH
def test_a_bye_that_was_refused_counts_from_when_it_is_taken(outbound: bool) -> None:
    world = World()
    leg = Dialog(world, outbound)
    leg.answered()
    leg.request("BYE", 7, goes=False)
    leg.answer(481, "BYE", 7, goes=True)
    world.now_ms += 900
    ended_ms = leg.hung_up(7)
    assert (world.word() or WireLeg()).ended_ms == ended_ms


def test_a_vendors_200_that_asterisk_does_not_take_is_no_answer() -> None:
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.final(200, branch="wrong")
    leg.answer(200, "INVITE", 1, goes=False, more="X-What: PJSIP reads this otherwise")
    world.now_ms += 900
    at_ms = leg.final(200)
    leg.final(200)
    leg.ack()
    assert world.word() == WireLeg(at_ms)


def test_a_bye_of_ours_in_another_dialog_of_the_leg_does_not_end_it() -> None:
    """That of a fork's second 200."""
    world = World()
    leg = Dialog(world, outbound=True)
    at_ms = leg.answered()
    leg.request("BYE", 2, goes=True, to="another fork's")
    assert world.word() == WireLeg(at_ms)


@BOTH
def test_a_bye_that_asterisk_refuses_or_never_answers_ends_nothing(outbound: bool) -> None:
    world = World()
    leg = Dialog(world, outbound)
    at_ms = leg.answered()
    leg.request("BYE", 7, goes=False)
    assert world.word() == WireLeg(at_ms)
    leg.answer(481, "BYE", 7, goes=True)
    assert world.word() == WireLeg(at_ms)
    assert leg.hung_up(8) == (world.word() or WireLeg()).ended_ms


@BOTH
def test_an_early_bye_that_asterisk_could_not_answer_does_not_end_the_leg_later(outbound: bool) -> None:
    """Its answer had nowhere to go; the real one, long after, has the same number and branch."""
    world = World()
    leg = Dialog(world, outbound)
    leg.answered()
    leg.request("BYE", 7, goes=False)
    world.now_ms += 28_000
    ended_ms = leg.hung_up(7)
    assert (world.word() or WireLeg()).ended_ms == ended_ms


@BOTH
def test_a_bye_with_others_tags_or_two_call_ids_is_none_of_this_leg(outbound: bool) -> None:
    world = World()
    leg = Dialog(world, outbound)
    at_ms = leg.answered()
    for other in (Dialog(world, outbound, theirs="else"), Dialog(world, outbound, call_id="else@x")):
        other.request("BYE", 7, goes=False)
    leg.request("BYE", 7, goes=False, to="else")
    leg.request("BYE", 7, goes=False, more="Call-ID: second@x")
    Dialog(world, outbound, call_id="second@x").answer(200, "BYE", 7, goes=True)
    assert world.word() == WireLeg(at_ms)


def test_a_caller_who_does_not_acknowledge_is_told_apart_until_he_does() -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.invite()
    at_ms = leg.final(200)
    leg.ack(to="else")
    leg.ack(cseq=77)
    Dialog(world, outbound=False, theirs="else").ack()
    ended_ms = leg.hung_up()
    assert world.word() == WireLeg(at_ms, ended_ms, is_unacknowledged=True)
    leg.ack()
    assert world.word() == WireLeg(at_ms, ended_ms)


def test_a_caller_who_cancels_is_refused() -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.invite()
    leg.request("CANCEL", 1, goes=False)
    leg.answer(200, "CANCEL", 1, goes=True)
    leg.final(487)
    assert world.word() == WireLeg(is_refused=True)


def test_a_vendors_late_200_is_an_answer() -> None:
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.request("CANCEL", 1, goes=True)
    at_ms = leg.final(200)
    leg.ack()
    ended_ms = leg.request("BYE", 2, goes=True)
    assert world.word() == WireLeg(at_ms, ended_ms, is_ended_by_us=True)


@pytest.mark.parametrize("status", [486, 487, 503])
def test_a_vendor_who_refuses_and_then_answers_has_refused(status: int) -> None:
    """Asterisk acknowledges the refusal, in the INVITE's own transaction, and leaves the 200."""
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.final(200, branch="stray")
    leg.final(status)
    leg.ack(branch="INVITE-1")
    leg.final(200)
    assert world.word() == WireLeg()


def test_a_200_that_asterisk_does_not_acknowledge_is_no_answer() -> None:
    """A vendor may send one long before he answers."""
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.final(200)
    world.now_ms += 28_000
    assert world.word() == WireLeg()
    at_ms = leg.final(200)
    leg.ack()
    assert world.word() == WireLeg(at_ms)


def test_of_two_200s_the_one_that_is_acknowledged_is_the_answer() -> None:
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.final(200, to="another fork's")
    at_ms = leg.final(200)
    leg.ack()
    assert world.word() == WireLeg(at_ms)


def test_an_ack_of_no_200_that_was_seen_makes_the_leg_doubtful() -> None:
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.ack()
    assert world.word() is None


def test_what_a_vendor_refuses_is_the_channels_own_matter() -> None:
    world = World()
    leg = Dialog(world, outbound=True)
    leg.invite()
    leg.final(503)
    assert world.word() == WireLeg()


@pytest.mark.parametrize("status", [200, 420, 486, 487])
def test_another_invite_with_the_same_ids_is_another_leg(status: int) -> None:
    """A refused call that is tried again at once, and who would take back his answer by an INVITE that is refused."""
    world = World()
    first, second = Dialog(world, outbound=False), Dialog(world, outbound=False, ours="ours2")
    first.invite()
    first.final(486)
    second.invite(2, branch="else")
    at_ms = second.final(200, 2, branch="else")
    second.ack(2)
    assert world.word() == WireLeg()
    assert world.word("ours2") == WireLeg(at_ms)
    third = Dialog(world, outbound=False, ours="ours3")
    third.invite(3, branch="third")
    third.final(status, 3, branch="third")
    assert world.word("ours2") == WireLeg(at_ms)


def test_an_answer_to_another_invite_of_the_dialog_is_not_its_answer() -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.answered()
    before = world.word()
    leg.request("INVITE", 2, goes=False)
    for status in (200, 487, 488):
        leg.final(status, 2)
        assert world.word() == before


@pytest.mark.parametrize("status", [200, 487])
def test_a_leg_whose_200_was_not_seen_has_no_word(status: int) -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.invite()
    leg.final(180)
    leg.final(status, 2)  # to a re-INVITE whose own copy is missing, too
    assert world.word() == WireLeg()
    leg.request("INVITE", 3, goes=False)
    leg.final(status, 3)
    assert world.word() is None


def test_a_leg_whose_invite_was_not_seen_has_no_word() -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.final(200)
    leg.hung_up()
    assert world.word() is None


def test_line_ends_before_a_message_hide_nothing() -> None:
    world = World()
    raw = b"\r\n\r\nINVITE sip:1@x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=INVITE-1\r\nFrom: <sip:1@x>;tag=theirs\r\n"
    world.take(raw + b"To: <sip:2@x>\r\nCall-ID: abc@x\r\nCSeq: 1 INVITE\r\n\r\n", goes=False)
    assert Dialog(world, outbound=False).final(200) == (world.word() or WireLeg()).answered_ms


def test_a_call_that_comes_back_is_two_legs() -> None:
    """By a proxy, with the Call-ID and the From tag that we gave it."""
    world = World()
    out, back = Dialog(world, outbound=True), Dialog(world, outbound=False, ours="ours2", theirs="ours")
    out.invite()
    back.invite()
    back_ms = back.final(200)
    back.ack()
    out_ms = out.final(200)
    out.ack()
    assert (world.word(), world.word("ours2")) == (WireLeg(out_ms), WireLeg(back_ms))


def test_a_line_waits_for_the_bye_and_no_longer_than_told() -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    leg.answered()
    line = closing()
    begin = time.monotonic()
    timer = threading.Timer(0.1, lambda: leg.request("BYE", 2, goes=True))
    timer.start()
    assert world.wire.of([line], 20)[line].ended_ms is not None
    timer.join()
    assert time.monotonic() - begin < 15
    world = World()
    Dialog(world, outbound=False).answered()
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
    assert Wire(went).of([closing(), closing(""), Line("h", 0, b"noise")], 60) == {}
    assert time.monotonic() - begin < 30


def test_legs_are_forgotten_once_they_are_sent() -> None:
    world = World()
    Dialog(world, outbound=False).answered()
    world.wire.forget([closing("else"), closing("")])
    assert world.word() is not None
    world.wire.forget([closing()])
    assert world.word() is None


def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_YOUNG", 3)
    monkeypatch.setattr(module, "MOST_ANSWERED", 2)
    world = World()
    for number in range(4):
        Dialog(world, False, f"a{number}", ours=f"answered{number}").answered()
    for number in range(5):
        leg = Dialog(world, False, f"y{number}", ours=f"young{number}")
        leg.invite()
        leg.final(180)
    for number in range(5):
        Dialog(world, False, f"i{number}").invite()
    assert [number for number in range(4) if world.word(f"answered{number}")] == [2, 3]
    assert [number for number in range(5) if world.word(f"young{number}")] == [2, 3, 4]
    assert len(world.wire._invites) == 3


@pytest.mark.parametrize("call_id", ["a%7Cb%40x", "abc", "a" * 128, "%00%0D%0A", "1%22-2", ""])
def test_the_tag_of_a_line_is_asterisks(call_id: str) -> None:
    for kind in ("LEG_RESULT", "CALL_END"):
        assert tag_of(closing("as3f-9", call_id, kind).raw) == b"as3f-9"
        assert tag_of(closing("", call_id, kind).raw) == b""


def test_an_invite_that_was_cancelled_and_that_no_line_tells_of_is_told_once() -> None:
    world = World()
    for name in ("told", "untold", "sent"):
        leg = Dialog(world, False, f"{name}@x", ours=name)
        leg.invite()
        at_ms = leg.final(487)
        leg.final(487)
        untold_ms = at_ms if name == "untold" else world.now_ms
    vendors = Dialog(world, True, ours="vendors")
    vendors.invite()
    vendors.final(487)
    assert world.wire.unheard(60) == []
    world.word("told")
    world.wire.forget([closing("sent")])
    (found,) = world.wire.unheard(-1)
    assert (found.sip_call_id, found.sip_code, found.method) == ("untold@x", 487, "INVITE")
    assert (found.address, found.port) == PEER
    assert found.at_ms < untold_ms
    assert world.wire.unheard(-1) == []


STEPS = ("INVITE", "18x", "200", "486", "487", "BYE comes", "BYE refused", "BYE goes", "re-INVITE")


@given(st.booleans(), st.lists(st.sampled_from(STEPS), max_size=12))
def test_any_order_of_messages_is_read_as_the_oracle_reads_it(outbound: bool, drawn: Sequence[str]) -> None:
    """Of those that Asterisk sends or takes: one final answer to an INVITE, each 200 acknowledged, BYE once."""
    world = World()
    leg = Dialog(world, outbound)
    leg.invite()
    final = answered = ended = False
    for at, step in enumerate(drawn, start=2):
        match step:
            case "INVITE":
                leg.invite()
            case "18x":
                leg.final(183)
            case "200" | "486" | "487" if not final:
                final, answered = True, step == "200"
                leg.final(int(step))
                leg.ack(branch="ack" if step == "200" else "INVITE-1")
            case "BYE comes" if not ended:
                ended = True
                leg.hung_up(at)
            case "BYE refused" if not ended:
                leg.request("BYE", at, goes=False)
                leg.answer(481, "BYE", at, goes=True)
            case "BYE goes" if not ended:
                ended = True
                leg.request("BYE", at, goes=True)
            case "re-INVITE" if answered:
                leg.request("INVITE", at, goes=False)
    seen = oracle.legs_of(world.messages, NODE)["abc@x"]
    word = world.word()
    if word is None:
        assert not outbound  # without any answer of ours there is no tag
        assert not seen.final
        return
    assert word.answered_ms == (None if seen.answered_us is None else seen.answered_us // 1_000)
    if seen.answered_us is not None and (seen.ended_us is None or seen.ended_us > seen.answered_us):
        assert word.ended_ms == (None if seen.ended_us is None else seen.ended_us // 1_000)
    assert word.is_refused == (not outbound and seen.final == 487)


@given(st.integers(0, 3 * PROMPT_MS))
def test_a_moment_counts_if_our_word_on_it_came_soon(late_ms: int) -> None:
    world = World()
    leg = Dialog(world, outbound=False)
    at_ms = leg.answered()
    ended_ms = leg.request("BYE", 2, goes=False)
    world.now_ms += late_ms
    leg.answer(200, "BYE", 2, goes=True)
    assert world.word() == WireLeg(at_ms, ended_ms if late_ms < PROMPT_MS else None)
