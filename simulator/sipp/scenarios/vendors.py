"""Vendors that answer, refuse or let it ring; each answers OPTIONS, too, by which PJSIP finds out whether he lives."""

from collections.abc import Sequence
from typing import Final

from simulator.sipp.scenarios.parts import SDP, recv, reply, scenario, send

ANSWER_MS: Final = 300  # from the INVITE until a vendor answers
EARLY_MEDIA_ENDING: Final = "5"  # a number that ends so gets 183 with early media before the answer
VENDOR_ENDS_ENDING: Final = "7"  # … and so: the vendor hangs up
VENDOR_TALKS_MS: Final = 1_200
_TEST_NUMBER: Final = """<recv request="INVITE" crlf="true" rrs="true"><action>
<ereg regexp="sip:[0-9]*{early}@" search_in="hdr" header="To:" assign_to="early"/>
<ereg regexp="sip:[0-9]*{ends}@" search_in="hdr" header="To:" assign_to="ends"/>
</action></recv>"""
_ACK: Final = """<recv request="ACK"><action>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
</action></recv>"""
_BYE: Final = """BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[last_From:]
[last_To:]
[last_Call-ID:]
CSeq: 1 BYE
Max-Forwards: 70
Content-Length: 0
"""


def _vendor(name: str, *steps: str) -> str:
    """A vendor's scenario with the way out for OPTIONS around it."""
    return scenario(
        name,
        recv(request="OPTIONS", optional="true", next="90"),
        *steps,
        '<nop next="99"/>',
        '<label id="90"/>',
        send(reply("200 OK")),
        '<label id="99"/>',
    )


def vendor_answers() -> str:
    """180 (or 183 with early media), then 200; ends the call himself where the number says so."""
    return _vendor(
        "a vendor who answers",
        _TEST_NUMBER.format(early=EARLY_MEDIA_ENDING, ends=VENDOR_ENDS_ENDING),
        '<nop test="early" next="1"/>',
        '<pause milliseconds="100"/>',
        send(reply("180 Ringing")),
        '<nop next="2"/>',
        '<label id="1"/>',
        '<pause milliseconds="100"/>',
        send(reply("183 Session Progress", body=SDP)),
        '<label id="2"/>',
        f'<pause milliseconds="{ANSWER_MS - 100}"/>',
        send(reply("200 OK", body=SDP), retrans="500"),
        _ACK,
        '<nop test="ends" next="3"/>',
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
        '<nop next="99"/>',
        '<label id="3"/>',
        f'<pause milliseconds="{VENDOR_TALKS_MS}"/>',
        send(_vendor_bye(), retrans="500"),
        recv(response="200"),
    )


def _vendor_bye() -> str:
    """The one who was called swaps From and To."""
    return _BYE.replace("[last_From:]", "From:[$to]").replace("[last_To:]", "To:[$from]")


def vendor_refuses(code: int, phrase: str, cause: int | str) -> str:
    """A final refusal at once, with its Q.850 cause."""
    return _vendor(
        f"a vendor who refuses by {code}",
        recv(request="INVITE", crlf="true"),
        send(reply(f"{code} {phrase}", f'Reason: Q.850;cause={cause};text="{phrase}"'), retrans="500"),
        recv(request="ACK"),
    )


def vendor_refuses_as_told(codes: Sequence[int]) -> str:
    """Refuses by the code (one of `codes`) that the dialled number begins with; any other number is busy."""
    tests = "".join(
        f'<ereg regexp="sip:{code}" search_in="hdr" header="To:" assign_to="told{code}"/>\n' for code in codes
    )
    steps = [f'<recv request="INVITE" crlf="true"><action>\n{tests}</action></recv>']
    steps += [f'<nop test="told{code}" next="{code}"/>' for code in codes]
    steps += [send(reply("486 Busy Here"), retrans="500"), recv(request="ACK")]
    for code in codes:
        steps += [
            '<nop next="99"/>',
            f'<label id="{code}"/>',
            send(reply(f"{code} As told"), retrans="500"),
            recv(request="ACK"),
        ]
    return _vendor("a vendor who refuses as he is told", *steps)


def vendor_rings() -> str:
    """Rings with early media until the caller gives up."""
    return _vendor(
        "a vendor who lets it ring",
        recv(request="INVITE", crlf="true"),
        '<pause milliseconds="200"/>',
        send(reply("183 Session Progress", body=SDP)),
        recv(request="CANCEL"),
        send(reply("200 OK", tag=False)),
        send(reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        recv(request="ACK"),
    )


# ---- vendors for hunts


def vendor_is_silent() -> str:
    """100 and no sign of life until the caller gives up."""
    return _vendor(
        "a vendor who says nothing",
        recv(request="INVITE", crlf="true"),
        send(reply("100 Trying", tag=False)),
        recv(request="CANCEL"),
        send(reply("200 OK", tag=False)),
        send(reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        recv(request="ACK"),
    )


def vendor_answers_after(ms: int, first: str = "100 Trying") -> str:
    """A provisional answer without media, then 200; whoever has given up by then is told so."""
    return _vendor(
        "a vendor who answers without ringing",
        recv(request="INVITE", crlf="true", rrs="true"),
        send(reply(first)),
        recv(request="CANCEL", timeout=str(ms), ontimeout="4"),
        send(reply("200 OK", tag=False)),
        send(reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        recv(request="ACK"),
        '<nop next="99"/>',
        '<label id="4"/>',
        send(reply("200 OK", body=SDP), retrans="500"),
        recv(request="ACK"),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )


def vendor_redirects(contact: str) -> str:
    """302 at once, to that SIP URI."""
    moved = reply("302 Moved Temporarily").replace("Contact: <sip:[local_ip]:[local_port]>", f"Contact: <{contact}>")
    return _vendor(
        "a vendor who redirects",
        recv(request="INVITE", crlf="true"),
        send(moved, retrans="500"),
        recv(request="ACK"),
    )


def vendor_plays_and_refuses(code: int, phrase: str, after_ms: int) -> str:
    """183 with early media, then a refusal."""
    return _vendor(
        f"a vendor who plays an announcement and refuses by {code}",
        recv(request="INVITE", crlf="true"),
        send(reply("183 Session Progress", body=SDP)),
        f'<pause milliseconds="{after_ms}"/>',
        send(reply(f"{code} {phrase}"), retrans="500"),
        recv(request="ACK"),
    )


# ---- vendors whose leg is over as soon as it is answered

_PARTIES: Final = """<recv request="INVITE" crlf="true" rrs="true"><action>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
</action></recv>"""


def vendor_hangs_up_at_once(after_ms: int = 0, *, waits_for_ack: bool = True, reason: str = "") -> str:
    """180, 200, and BYE, with this Reason, so many milliseconds behind the ACK; or 1 ms behind the 200, ACK or not."""
    wait = recv(request="ACK") if waits_for_ack else recv(request="ACK", timeout="1", ontimeout="5")
    bye = _vendor_bye().replace("From:[$to]", "From:[$to];tag=[pid]V[call_number]")
    if reason:
        bye = bye.replace("Max-Forwards", f"Reason: {reason}\nMax-Forwards")
    return _vendor(
        "a vendor who answers and hangs up",
        _PARTIES,
        send(reply("180 Ringing")),
        '<pause milliseconds="50"/>',
        send(reply("200 OK", body=SDP)),
        wait,
        *([f'<pause milliseconds="{after_ms}"/>'] if after_ms else []),
        '<label id="5"/>',
        send(bye),
        recv(request="ACK", optional="true"),
        recv(response="200"),
    )


_CONTACT: Final = "Contact: <sip:[local_ip]:[local_port]>"


def vendor_refers(target: str) -> str:
    """180, 200, then asks for a transfer to this SIP URI, is refused at once, and talks on."""
    refer = _vendor_bye().replace("BYE", "REFER").replace("From:[$to]", "From:[$to];tag=[pid]V[call_number]")
    return _vendor(
        "a vendor who asks for a transfer",
        _PARTIES,
        send(reply("180 Ringing")),
        '<pause milliseconds="50"/>',
        send(reply("200 OK", body=SDP), retrans="500"),
        recv(request="ACK"),
        send(refer.replace("Max-Forwards", f"{_CONTACT}\nRefer-To: <{target}>\nMax-Forwards"), retrans="500"),
        recv(response="603"),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )


def vendor_answers_without_media() -> str:
    """180, then a 200 without SDP, for which it is sent BYE."""
    return _vendor(
        "a vendor whose answer has no SDP",
        recv(request="INVITE", crlf="true", rrs="true"),
        send(reply("180 Ringing")),
        '<pause milliseconds="50"/>',
        send(reply("200 OK")),
        recv(request="ACK"),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )
