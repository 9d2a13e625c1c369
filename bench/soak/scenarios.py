"""SIPp scenarios that configuration/asterisk/scenarios/ does not have: callers and vendors that break the rules.

A caller's fields: 0 the number, 1 the caller's, 2 milliseconds, as its kind uses them.
"""

from typing import Final

from simulator.sipp.scenarios.parts import EMPTY, SDP, recv, reply, scenario, send

LISTENER_GIVES_UP_MS: Final = 8_000
_FIXED: Final = "z9hG4bK-[pid]-[call_number]-{}"
_REQUEST: Final = """{method} sip:[field0]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}
From: <sip:[field1]@[local_ip]:[local_port]>;tag=[pid]C[call_number]
To: <sip:[field0]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: <sip:[field1]@[local_ip]:[local_port]>
Max-Forwards: 70
{body}"""
_PROVISIONAL: Final = tuple(recv(response=code, optional="true") for code in ("100", "180", "183"))
_REFUSALS: Final = (400, 403, 404, 408, 410, 480, 484, 486, 487, 488, 500, 501, 502, 503, 504, 580, 600, 603)
_FIELD_2: Final = """<nop><action>
<assignstr assign_to="text" value="[field2]"/>
<todouble assign_to="ms" variable="text"/>
</action></nop>
<Reference variables="ms"/>"""
_PAUSE: Final = '<pause variable="ms"/>'
_G729: Final = SDP.partition("m=audio")[0] + "m=audio [media_port] RTP/AVP 18\na=rtpmap:18 G729/8000"


def _request(method: str, number: int, branch: str = "[branch]", *, tag: bool = True, body: str = EMPTY) -> str:
    to = "[peer_tag_param]" if tag else ""
    return _REQUEST.format(method=method, number=number, branch=branch, tag=to, body=body)


def _invite(body: str = SDP) -> str:
    return _request("INVITE", 1, _FIXED.format("i"), tag=False, body=body)


_ACK_200: Final = _request("ACK", 1, _FIXED.format("a"))
_ACK_REFUSAL: Final = _request("ACK", 1, _FIXED.format("i"))
_BYE: Final = _request("BYE", 2, _FIXED.format("b"))


def _caller(name: str, *answered: str, invite: tuple[str, ...] = ()) -> str:
    """Takes any refusal; `answered` is what happens from the 200 on."""
    return scenario(
        name,
        *(invite or (send(_invite(), retrans="500"),)),
        _FIELD_2,
        *_PROVISIONAL,
        *(recv(response=str(code), optional="true", next="80") for code in _REFUSALS),
        recv(response="200", rrs="true"),
        *answered,
        '<nop next="99"/>',
        '<label id="80"/>',
        send(_ACK_REFUSAL),
        '<label id="99"/>',
    )


def talks() -> str:
    """Answered, hangs up after field 2."""
    return _caller("talks", send(_ACK_200), _PAUSE, send(_BYE, retrans="500"), recv(response="200"))


def listens() -> str:
    """The other side hangs up, or this one after some seconds."""
    return _caller(
        "listens",
        send(_ACK_200),
        recv(request="BYE", timeout=str(LISTENER_GIVES_UP_MS), ontimeout="70"),
        send(reply("200 OK", tag=False)),
        '<nop next="99"/>',
        '<label id="70"/>',
        send(_BYE, retrans="500"),
        recv(response="200"),
    )


def repeats_everything() -> str:
    """Every request twice, with the same branch: what a network that duplicates packets makes of a call."""
    return _caller(
        "repeats everything",
        *[send(_ACK_200)] * 2,
        _PAUSE,
        *[send(_BYE)] * 2,
        recv(response="200"),
        invite=(send(_invite()), recv(response="100"), send(_invite())),
    )


def never_acks() -> str:
    """No ACK ever comes; BYE after field 2."""
    return _caller("never acks", _PAUSE, send(_BYE, retrans="500"), recv(response="200"))


def never_hangs_up() -> str:
    """Answered, and not heard of again: its BYE is lost, and it answers none."""
    return _caller("never hangs up", send(_ACK_200))


def offers_other_codecs() -> str:
    """G.729 alone."""
    return _caller("offers G.729", send(_ACK_200), invite=(send(_invite(_G729), retrans="500"),))


def cancels() -> str:
    """CANCEL field 2 behind the 100, whatever has come by then; later ACK and BYE for an answer that crossed it."""
    return scenario(
        "cancels around the answer",
        send(_invite(), retrans="500"),
        _FIELD_2,
        recv(response="100"),
        _PAUSE,
        send(_request("CANCEL", 1, _FIXED.format("i"), tag=False)),
        '<pause milliseconds="700"/>',
        send(_ACK_REFUSAL),
        send(_ACK_200),
        send(_BYE),
        '<pause milliseconds="300"/>',
    )


def vendor_answers_without_ringing() -> str:
    """200 at once."""
    return _vendor(
        "answers at once",
        send(reply("200 OK", body=SDP), retrans="500"),
        recv(request="ACK"),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )


def vendor_answers_the_cancel() -> str:
    """180, and 200 to the INVITE when it is cancelled: the two have crossed."""
    return _vendor(
        "answers when it is cancelled",
        send(reply("180 Ringing")),
        recv(request="CANCEL"),
        send(reply("200 OK")),
        send(reply("200 OK", body=SDP).replace("[last_CSeq:]", "CSeq: [cseq] INVITE"), retrans="500"),
        recv(request="ACK"),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )


def vendor_rings_and_refuses(status: str, after_ms: int) -> str:
    """180, and a refusal later."""
    return _vendor(
        "rings and refuses",
        send(reply("180 Ringing")),
        f'<pause milliseconds="{after_ms}"/>',
        send(reply(status), retrans="500"),
        recv(request="ACK"),
    )


def _vendor(name: str, *steps: str) -> str:
    return scenario(
        name,
        recv(request="OPTIONS", optional="true", next="90"),
        recv(request="INVITE", crlf="true"),
        *steps,
        '<nop next="99"/>',
        '<label id="90"/>',
        send(reply("200 OK")),
        '<label id="99"/>',
    )
