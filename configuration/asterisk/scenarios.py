"""SIPp's scenarios for real calls, as texts: vendors that answer, refuse or let it ring; callers that talk, give up or
are refused. Pure. The demo's trickle and the tests use the same.

A vendor also answers OPTIONS, by which PJSIP finds out whether he is there.
"""

from collections.abc import Sequence
from typing import Final

ANSWER_MS: Final = 300  # from the INVITE until a vendor answers
EARLY_MEDIA_ENDING: Final = "5"  # a number that ends so gets 183 with early media before the answer
VENDOR_ENDS_ENDING: Final = "7"  # … and so: the vendor hangs up
VENDOR_TALKS_MS: Final = 1_200

_SDP: Final = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=streamco 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000"""
_EMPTY: Final = "Content-Length: 0\n"


def _send(text: str, **attributes: str) -> str:
    marks = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<send{marks}><![CDATA[\n{text}\n]]></send>"


def _recv(**attributes: str) -> str:
    return "<recv" + "".join(f' {name}="{value}"' for name, value in attributes.items()) + "/>"


def _scenario(name: str, *steps: str) -> str:
    body = "\n".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n{body}\n</scenario>\n'


# ---- vendors


def _reply(status: str, *extra: str, body: str = _EMPTY, tag: bool = True) -> str:
    to = "[last_To:];tag=[pid]V[call_number]" if tag else "[last_To:]"
    head = [f"SIP/2.0 {status}", "[last_Via:]", "[last_From:]", to, "[last_Call-ID:]", "[last_CSeq:]"]
    return "\n".join([*head, "Contact: <sip:[local_ip]:[local_port]>", *extra, body])


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
    return _scenario(
        name,
        _recv(request="OPTIONS", optional="true", next="90"),
        *steps,
        '<nop next="99"/>',
        '<label id="90"/>',
        _send(_reply("200 OK")),
        '<label id="99"/>',
    )


def vendor_answers() -> str:
    """180 (or 183 with early media), then 200; ends the call himself where the number says so."""
    return _vendor(
        "a vendor who answers",
        _TEST_NUMBER.format(early=EARLY_MEDIA_ENDING, ends=VENDOR_ENDS_ENDING),
        '<nop test="early" next="1"/>',
        '<pause milliseconds="100"/>',
        _send(_reply("180 Ringing")),
        '<nop next="2"/>',
        '<label id="1"/>',
        '<pause milliseconds="100"/>',
        _send(_reply("183 Session Progress", body=_SDP)),
        '<label id="2"/>',
        f'<pause milliseconds="{ANSWER_MS - 100}"/>',
        _send(_reply("200 OK", body=_SDP), retrans="500"),
        _ACK,
        '<nop test="ends" next="3"/>',
        _recv(request="BYE"),
        _send(_reply("200 OK", tag=False)),
        '<nop next="99"/>',
        '<label id="3"/>',
        f'<pause milliseconds="{VENDOR_TALKS_MS}"/>',
        _send(_vendor_bye(), retrans="500"),
        _recv(response="200"),
    )


def _vendor_bye() -> str:
    """The one who was called swaps From and To."""
    return _BYE.replace("[last_From:]", "From:[$to]").replace("[last_To:]", "To:[$from]")


def vendor_refuses(code: int, phrase: str, cause: int) -> str:
    """A final refusal at once, with its Q.850 cause."""
    return _vendor(
        f"a vendor who refuses by {code}",
        _recv(request="INVITE", crlf="true"),
        _send(_reply(f"{code} {phrase}", f'Reason: Q.850;cause={cause};text="{phrase}"'), retrans="500"),
        _recv(request="ACK"),
    )


def vendor_refuses_as_told(codes: Sequence[int]) -> str:
    """Refuses by the code (one of `codes`) that the dialled number begins with; any other number is busy."""
    tests = "".join(
        f'<ereg regexp="sip:{code}" search_in="hdr" header="To:" assign_to="told{code}"/>\n' for code in codes
    )
    steps = [f'<recv request="INVITE" crlf="true"><action>\n{tests}</action></recv>']
    steps += [f'<nop test="told{code}" next="{code}"/>' for code in codes]
    steps += [_send(_reply("486 Busy Here"), retrans="500"), _recv(request="ACK")]
    for code in codes:
        steps += [
            '<nop next="99"/>',
            f'<label id="{code}"/>',
            _send(_reply(f"{code} As told"), retrans="500"),
            _recv(request="ACK"),
        ]
    return _vendor("a vendor who refuses as he is told", *steps)


def vendor_rings() -> str:
    """Rings with early media until the caller gives up."""
    return _vendor(
        "a vendor who lets it ring",
        _recv(request="INVITE", crlf="true"),
        '<pause milliseconds="200"/>',
        _send(_reply("183 Session Progress", body=_SDP)),
        _recv(request="CANCEL"),
        _send(_reply("200 OK", tag=False)),
        _send(_reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        _recv(request="ACK"),
    )


# ---- callers

_INVITE: Final = """INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
From: <sip:{caller}@[local_ip]:[local_port]>;tag=[pid]C[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:{caller}@[local_ip]:[local_port]>
Max-Forwards: 70
"""
_REQUEST: Final = """{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
From: <sip:{caller}@[local_ip]:[local_port]>;tag=[pid]C[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Max-Forwards: 70
Content-Length: 0
"""
_PROVISIONAL: Final = tuple(_recv(response=code, optional="true") for code in ("100", "180", "183"))
_BRANCH: Final = "z9hG4bK-[pid]-[call_number]"


def _invite(caller: str, branch: str = "[branch]") -> str:
    return _send(_INVITE.format(caller=caller, branch=branch) + _SDP, retrans="500")


def _request(method: str, caller: str, *, number: int = 1, branch: str = "[branch]", tag: bool = True) -> str:
    to = "[peer_tag_param]" if tag else ""
    return _REQUEST.format(method=method, caller=caller, number=number, branch=branch, tag=to)


def caller_talks(caller: str, talk_ms: int) -> str:
    """Answered, talks so long, hangs up."""
    return _scenario(
        "a caller who hangs up",
        _invite(caller),
        *_PROVISIONAL,
        _recv(response="200", rrs="true"),
        _send(_request("ACK", caller)),
        f'<pause milliseconds="{talk_ms}"/>',
        _send(_request("BYE", caller, number=2), retrans="500"),
        _recv(response="200"),
    )


def caller_listens(caller: str) -> str:
    """Answered; the other side hangs up."""
    return _scenario(
        "a caller who listens",
        _invite(caller),
        *_PROVISIONAL,
        _recv(response="200", rrs="true"),
        _send(_request("ACK", caller)),
        _recv(request="BYE"),
        _send(_reply("200 OK", tag=False)),
    )


def caller_refused(caller: str, code: int) -> str:
    """Refused by exactly this code: any other fails the scenario."""
    return _scenario(
        f"a caller who is refused by {code}",
        _invite(caller, branch=_BRANCH),
        *_PROVISIONAL,
        _recv(response=str(code)),
        _send(_request("ACK", caller, branch=_BRANCH)),
    )


def caller_gives_up(caller: str, after_ms: int) -> str:
    """Cancels while it rings."""
    return _scenario(
        "a caller who gives up",
        _invite(caller, branch=_BRANCH),
        _recv(response="100", optional="true"),
        _recv(response="180", optional="true", next="1"),
        _recv(response="183"),
        '<label id="1"/>',
        f'<pause milliseconds="{after_ms}"/>',
        _send(_request("CANCEL", caller, branch=_BRANCH, tag=False), retrans="500"),
        *(_recv(response=code, optional="true") for code in ("180", "183")),
        _recv(response="200"),
        _recv(response="487"),
        _send(_request("ACK", caller, branch=_BRANCH)),
    )


# ---- callers of a trickle: many calls by one scenario; number and caller come from a file of SIPp's (-inf)

_REFUSALS: Final = (403, 404, 408, 410, 480, 484, 486, 488, 500, 501, 502, 503, 603)


def callers_of_all_kinds(shortest_talk_ms: int, longest_talk_ms: int) -> str:
    """Takes what comes: refused, or talks so long and hangs up."""
    caller = "[field1]"
    refusals = (_recv(response=str(code), optional="true", next="80") for code in _REFUSALS)
    text = _scenario(
        "callers of all kinds",
        _invite(caller, branch=_BRANCH),
        *_PROVISIONAL,
        *refusals,
        _recv(response="200", rrs="true"),
        _send(_request("ACK", caller)),
        f'<pause distribution="uniform" min="{shortest_talk_ms}" max="{longest_talk_ms}"/>',
        _send(_request("BYE", caller, number=2), retrans="500"),
        _recv(response="200"),
        '<nop next="99"/>',
        '<label id="80"/>',
        _send(_request("ACK", caller, branch=_BRANCH)),
        '<label id="99"/>',
    )
    return text.replace("[service]", "[field0]")


def callers_who_listen() -> str:
    """The other side hangs up."""
    return caller_listens("[field1]").replace("[service]", "[field0]")


def callers_who_give_up(after_ms: int) -> str:
    """Cancel while it rings."""
    return caller_gives_up("[field1]", after_ms).replace("[service]", "[field0]")


# ---- vendors for hunts


def vendor_is_silent() -> str:
    """100 and no sign of life until the caller gives up."""
    return _vendor(
        "a vendor who says nothing",
        _recv(request="INVITE", crlf="true"),
        _send(_reply("100 Trying", tag=False)),
        _recv(request="CANCEL"),
        _send(_reply("200 OK", tag=False)),
        _send(_reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        _recv(request="ACK"),
    )


def vendor_answers_after(ms: int, first: str = "100 Trying") -> str:
    """A provisional answer without media, then 200; whoever has given up by then is told so."""
    return _vendor(
        "a vendor who answers without ringing",
        _recv(request="INVITE", crlf="true", rrs="true"),
        _send(_reply(first)),
        _recv(request="CANCEL", timeout=str(ms), ontimeout="4"),
        _send(_reply("200 OK", tag=False)),
        _send(_reply("487 Request Terminated").replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        _recv(request="ACK"),
        '<nop next="99"/>',
        '<label id="4"/>',
        _send(_reply("200 OK", body=_SDP), retrans="500"),
        _recv(request="ACK"),
        _recv(request="BYE"),
        _send(_reply("200 OK", tag=False)),
    )


def vendor_redirects(contact: str) -> str:
    """302 at once, to that SIP URI."""
    moved = _reply("302 Moved Temporarily").replace("Contact: <sip:[local_ip]:[local_port]>", f"Contact: <{contact}>")
    return _vendor(
        "a vendor who redirects",
        _recv(request="INVITE", crlf="true"),
        _send(moved, retrans="500"),
        _recv(request="ACK"),
    )


def vendor_plays_and_refuses(code: int, phrase: str, after_ms: int) -> str:
    """183 with early media, then a refusal."""
    return _vendor(
        f"a vendor who plays an announcement and refuses by {code}",
        _recv(request="INVITE", crlf="true"),
        _send(_reply("183 Session Progress", body=_SDP)),
        f'<pause milliseconds="{after_ms}"/>',
        _send(_reply(f"{code} {phrase}"), retrans="500"),
        _recv(request="ACK"),
    )
