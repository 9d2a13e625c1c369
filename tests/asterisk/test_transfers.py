"""Nobody takes a call over by REFER, or by an INVITE that would replace a leg: it goes on, and is billed whole."""

import re
import socket

import pytest
from real_calls import TALK_MS, Seen, until
from real_line import CALLER, RICH, Line
from sip_call import Call, calls_in

from simulator.sipp import scenarios

pytestmark = [pytest.mark.asterisk, pytest.mark.servers]
_INVITE = """INVITE sip:999210000060@{us} SIP/2.0
Via: SIP/2.0/UDP {me};branch=z9hG4bK-{tag}
From: <sip:1@{me}>;tag={tag}
To: <sip:999210000060@{us}>
Call-ID: {tag}
CSeq: 1 INVITE
Contact: <sip:1@{me}>
Max-Forwards: 70
Replaces: {replaces}
Content-Length: 0

"""


def check_whole(call: Call) -> None:
    (leg,) = call.legs
    assert call.ended.duration_ms == leg.duration_ms >= TALK_MS - 50
    assert call.ended.release_side == leg.release_side == "caller"


def test_a_callers_refer_is_refused_at_once(real_calls: dict[str, Seen]) -> None:
    seen = real_calls["asks for a transfer"]
    assert seen.finals == [200, 603, 200]
    check_whole(seen.call)


def test_an_invite_that_would_replace_a_leg_is_refused(real_line: Line, real_calls: dict[str, Seen]) -> None:
    assert real_calls
    placed = real_line.call("replaced", "999210000050", scenarios.caller_talks(CALLER, TALK_MS))
    until(lambda: "SIP/2.0 200 OK" in placed.received, "the call is answered")
    answer = placed.whole.replace("\r", "").partition("SIP/2.0 200 OK")[2]
    (call_id, ours, theirs) = (
        re.search(pattern, answer, re.M)[1]  # type: ignore[index]
        for pattern in (r"^Call-ID: (.*)$", r"^From:.*;tag=([^;\n]*)", r"^To:.*;tag=([^;\n]*)")
    )
    intruders = []
    for at, (to, sender) in enumerate(((theirs, ours), (ours, theirs))):  # as the dialog's either side would name it
        with socket.socket(type=socket.SOCK_DGRAM) as intruder:
            intruder.bind((RICH, 0))
            intruder.settimeout(5)
            me = f"{RICH}:{intruder.getsockname()[1]}"
            intruders.append(me)
            us = f"127.0.0.1:{real_line.sip_port}"
            replaces = f"{call_id};to-tag={to};from-tag={sender}"
            text = _INVITE.format(me=me, us=us, tag=f"intruder-{at}", replaces=replaces)
            intruder.sendto(text.replace("\n", "\r\n").encode(), ("127.0.0.1", real_line.sip_port))
            assert intruder.recv(65_536).startswith(b"SIP/2.0 401 ")
    assert placed.wait().code == 0
    check_whole(real_line.calls_of([placed.address])[placed.address])
    assert not calls_in(real_line.journal.read_bytes()).keys() & set(intruders)
