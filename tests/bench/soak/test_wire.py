"""Packets become messages, messages become legs: the first answer and the first BYE count, whoever repeats what."""

import itertools

from bench.soak.wire import Address, Message, Packet, WireLeg, legs_of, max_up, read_message

NODE: Address = ("127.0.0.1", 5060)
CALLER: Address = ("127.91.1.1", 6000)
VENDOR: Address = ("127.91.9.1", 7000)
INVITE = b"""INVITE sip:447700000001@127.0.0.1:5060 SIP/2.0
Via: SIP/2.0/UDP 127.91.1.1:6000;branch=z9hG4bK-1
Call-ID: 1-2@127.91.1.1
CSeq: 1 INVITE
Content-Length: 5

CSeq: 9 BYE""".replace(b"\n", b"\r\n")


def packet(payload: bytes) -> Packet:
    return Packet(17, CALLER, NODE, payload)


def test_a_request_is_read() -> None:
    assert read_message(packet(INVITE)) == Message(17, CALLER, NODE, "1-2@127.91.1.1", "INVITE", 0, "447700000001")


def test_a_response_is_of_the_request_that_it_answers() -> None:
    text = b"SIP/2.0 200 OK\r\ni: 1-2@127.91.1.1\r\ncseq: 1 CANCEL\r\n\r\n"
    assert read_message(packet(text)) == Message(17, CALLER, NODE, "1-2@127.91.1.1", "CANCEL", 200, "")


def test_what_is_no_sip_is_no_message() -> None:
    for payload in (b"", b"\r\n\r\n", b"\x80\x00\x01\x02", b"GET / HTTP/1.1\r\n\r\n"):
        assert read_message(packet(payload)) is None


_TIMES = itertools.count(1_000)


def sent(source: Address, target: Address, call_id: str, method: str, status: int = 0, at_us: int = 0) -> Message:
    return Message(at_us or next(_TIMES), source, target, call_id, method, status, "44" if not status else "")


def leg(*messages: Message) -> WireLeg:
    (found,) = legs_of(messages, NODE).values()
    return found


def test_a_customers_talk_is_from_the_200_sent_to_the_first_bye() -> None:
    found = leg(
        sent(CALLER, NODE, "a", "INVITE", at_us=1_000),
        sent(NODE, CALLER, "a", "INVITE", 100),
        sent(CALLER, NODE, "a", "INVITE"),  # repeated
        sent(NODE, CALLER, "a", "INVITE", 200, at_us=50_000),
        sent(NODE, CALLER, "a", "INVITE", 200, at_us=550_000),  # no ACK came
        sent(CALLER, NODE, "a", "BYE", at_us=950_000),
        sent(CALLER, NODE, "a", "BYE", at_us=1_450_000),
        sent(NODE, CALLER, "a", "BYE", 200),
    )
    assert found == WireLeg("a", "customer", CALLER, "44", 1_000, 200, 50_000, 950_000, "peer")
    assert found.talk_ms == 900


def test_a_vendors_talk_is_from_the_200_received_to_the_bye_sent() -> None:
    found = leg(
        sent(NODE, VENDOR, "b", "INVITE", at_us=1_000),
        sent(VENDOR, NODE, "b", "INVITE", 200, at_us=2_000),
        sent(NODE, VENDOR, "b", "BYE", at_us=4_500),
    )
    assert found == WireLeg("b", "vendor", VENDOR, "44", 1_000, 200, 2_000, 4_500, "node")


def test_a_caller_who_never_acknowledges_ends_with_the_vendor() -> None:
    """The node may send him no BYE."""

    def caller(*more: Message) -> WireLeg:
        begin = (sent(CALLER, NODE, "a", "INVITE"), sent(NODE, CALLER, "a", "INVITE", 200, at_us=50_000))
        vendor = (sent(NODE, VENDOR, "b", "INVITE"), sent(VENDOR, NODE, "b", "INVITE", 200, at_us=49_000))
        end = (sent(VENDOR, NODE, "b", "BYE", at_us=700_000), sent(NODE, VENDOR, "b", "BYE", 200))
        return legs_of([*begin, *vendor, *end, *more], NODE)["a"]

    bye = sent(CALLER, NODE, "a", "BYE", at_us=950_000)
    assert [caller(*more).talk_ms for more in ((bye,), ())] == [650, 650]
    assert caller(bye).ended_by == "node"
    assert caller(sent(CALLER, NODE, "a", "ACK"), bye).talk_ms == 900
    assert caller(sent(CALLER, NODE, "a", "BYE", at_us=400_000)).talk_ms == 350
    assert caller(sent(CALLER, NODE, "a", "ACK")).talk_ms is None


def test_the_200_to_a_cancel_is_no_answer() -> None:
    found = leg(
        sent(CALLER, NODE, "a", "INVITE", at_us=1),
        sent(CALLER, NODE, "a", "CANCEL"),
        sent(NODE, CALLER, "a", "CANCEL", 200),
        sent(NODE, CALLER, "a", "INVITE", 487),
        sent(CALLER, NODE, "a", "ACK"),
    )
    assert (found.final, found.answered_us, found.ended_us, found.talk_ms) == (487, None, None, None)


def test_an_answer_that_crosses_a_cancel_is_an_answer() -> None:
    found = leg(
        sent(NODE, VENDOR, "b", "INVITE"),
        sent(NODE, VENDOR, "b", "CANCEL", at_us=6_000),
        sent(NODE, VENDOR, "b", "CANCEL", at_us=6_500),
        sent(VENDOR, NODE, "b", "INVITE", 200, at_us=7_000),
        sent(VENDOR, NODE, "b", "CANCEL", 200),
        sent(NODE, VENDOR, "b", "BYE", at_us=9_000),
    )
    assert (found.final, found.talk_ms, found.cancelled_us) == (200, 2, 6_000)


def test_a_bye_that_the_node_refuses_is_no_end() -> None:
    begin = (sent(NODE, VENDOR, "b", "INVITE"), sent(VENDOR, NODE, "b", "INVITE", 200, at_us=7_000))
    refused = (sent(VENDOR, NODE, "b", "BYE"), sent(NODE, VENDOR, "b", "BYE", 481))
    found = leg(*begin, *refused)
    assert (found.talk_ms, found.refused_byes) == (None, 1)
    found = leg(*begin, *refused, sent(NODE, VENDOR, "b", "BYE", at_us=9_000), sent(VENDOR, NODE, "b", "BYE", 481))
    assert (found.talk_ms, found.ended_by, found.refused_byes) == (2, "node", 1)  # ours ends it, whatever is said to it


def test_messages_of_no_invite_are_no_leg() -> None:
    assert legs_of([sent(NODE, VENDOR, "o", "OPTIONS"), sent(VENDOR, NODE, "o", "OPTIONS", 200)], NODE) == {}


def test_the_most_calls_that_were_up_at_a_time() -> None:
    def answered(answered_us: int | None, ended_us: int | None) -> WireLeg:
        return WireLeg("x", "customer", CALLER, "44", 0, 200, answered_us, ended_us)

    assert max_up([]) == 0
    assert max_up([answered(10, 20), answered(20, 30), answered(None, None)]) == 1
    assert max_up([answered(10, 25), answered(20, None), answered(22, 23), answered(24, 26)]) == 3
    assert max_up([WireLeg("x", "vendor", VENDOR, "44", 0, 200, 10, 20)]) == 0
