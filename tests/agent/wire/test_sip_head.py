"""Heads of SIP messages: what another reader may read otherwise is not taken for what it seems to be."""

import pytest

from agent.wire.sip_head import read_head

BYE = (
    "BYE sip:44@x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: {sender}\r\nTo: {to}\r\n"
    "Call-ID: abc@x\r\nCSeq: 2 BYE\r\n{more}\r\n"
)


def bye(sender: str = "<sip:1@x>;tag=theirs", to: str = "<sip:2@x>;tag=ours", more: str = "") -> bytes:
    return BYE.format(sender=sender, to=to, more=more).encode()


@pytest.mark.parametrize(
    ("to", "tag"),
    [
        ("<sip:2@x>;tag=ours", b"ours"),
        ("<sip:2@x> ; x=1 ; TAG = ours;y", b"ours"),
        ("sip:2@x;tag=ours", b"ours"),
        ('"A, B;tag=no" <sip:2@x;tag=no?X=;tag=no>;tag=ours', b"ours"),
        ('"a>;tag=no" <sip:2@x>;tag=ours', b"ours"),
        ('"x;tag=ours" <sip:2@x>', b""),
        ("<sip:2@x;tag=ours>", b""),
    ],
)
def test_a_tag_stands_behind_the_address(to: str, tag: bytes) -> None:
    head = read_head(bye(to=to))
    assert head is not None
    assert (head.tag(b"to"), head.is_doubled) == (tag, False)


@pytest.mark.parametrize(
    "payload",
    [
        bye(to="<sip:2@x>;tag=ours;tag=else"),
        bye(sender="<sip:1@x>;tag=theirs;tag=theirs"),
        bye(more="Call-ID: else@x\r\n"),
        bye(more="i: else@x\r\n"),
        bye(more="X: 1\rTo: <sip:2@x>;tag=else\r\n"),
        bye(to="<sip:2@x>;tag=ours\rCSeq: 3 BYE"),
    ],
)
def test_what_can_be_read_in_two_ways_is_marked(payload: bytes) -> None:
    head = read_head(payload)
    assert head is not None
    assert head.is_doubled
