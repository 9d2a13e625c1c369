"""Callers that talk, give up or are refused."""

from typing import Final

from simulator.sipp.scenarios.parts import SDP, recv, reply, scenario, send

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
_PROVISIONAL: Final = tuple(recv(response=code, optional="true") for code in ("100", "180", "183"))
_BRANCH: Final = "z9hG4bK-[pid]-[call_number]"


def _invite(caller: str, branch: str = "[branch]") -> str:
    return send(_INVITE.format(caller=caller, branch=branch) + SDP, retrans="500")


def _request(method: str, caller: str, *, number: int = 1, branch: str = "[branch]", tag: bool = True) -> str:
    to = "[peer_tag_param]" if tag else ""
    return _REQUEST.format(method=method, caller=caller, number=number, branch=branch, tag=to)


def caller_talks(caller: str, talk_ms: int) -> str:
    """Answered, talks so long, hangs up."""
    return scenario(
        "a caller who hangs up",
        _invite(caller),
        *_PROVISIONAL,
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        f'<pause milliseconds="{talk_ms}"/>',
        send(_request("BYE", caller, number=2), retrans="500"),
        recv(response="200"),
    )


def caller_refers(caller: str, talk_ms: int) -> str:
    """Answered, asks to be transferred, is refused at once, and talks on."""
    more = f"Contact: <sip:{caller}@[local_ip]:[local_port]>\nRefer-To: <sip:{caller}@[local_ip]>\n"
    refer = _request("REFER", caller, number=2).replace("Max-Forwards", f"{more}Max-Forwards")
    return scenario(
        "a caller who asks to be transferred",
        _invite(caller),
        *_PROVISIONAL,
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        send(refer, retrans="500"),
        recv(response="603", timeout="400"),
        f'<pause milliseconds="{talk_ms}"/>',
        send(_request("BYE", caller, number=3), retrans="500"),
        recv(response="200"),
    )


def caller_listens(caller: str) -> str:
    """Answered; the other side hangs up."""
    return scenario(
        "a caller who listens",
        _invite(caller),
        *_PROVISIONAL,
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
    )


def caller_holds(caller: str, held_ms: int | None) -> str:
    """Answered, puts the call on hold at once, and hangs up after so long; without a time the other side does."""
    hold = _invite(caller).replace("[remote_port]>\nCall-ID", "[remote_port]>[peer_tag_param]\nCall-ID")
    hold = hold.replace("CSeq: 1", "CSeq: 2").replace("PCMU/8000", "PCMU/8000\na=sendonly")
    end = [recv(request="BYE"), send(reply("200 OK", tag=False))]
    if held_ms is not None:
        bye = send(_request("BYE", caller, number=3), retrans="500")
        end = [f'<pause milliseconds="{held_ms}"/>', bye, recv(response="200")]
    return scenario(
        "a caller who puts the call on hold",
        _invite(caller),
        *_PROVISIONAL,
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        hold,
        recv(response="100", optional="true"),
        recv(response="200"),
        send(_request("ACK", caller, number=2)),
        *end,
    )


def caller_refused(caller: str, code: int) -> str:
    """Refused by exactly this code: any other fails the scenario."""
    return scenario(
        f"a caller who is refused by {code}",
        _invite(caller, branch=_BRANCH),
        *_PROVISIONAL,
        recv(response=str(code)),
        send(_request("ACK", caller, branch=_BRANCH)),
    )


def caller_gives_up(caller: str, after_ms: int) -> str:
    """Cancels while it rings."""
    return scenario(
        "a caller who gives up",
        _invite(caller, branch=_BRANCH),
        recv(response="100", optional="true"),
        recv(response="180", optional="true", next="1"),
        recv(response="183"),
        '<label id="1"/>',
        f'<pause milliseconds="{after_ms}"/>',
        send(_request("CANCEL", caller, branch=_BRANCH, tag=False), retrans="500"),
        *(recv(response=code, optional="true") for code in ("180", "183")),
        recv(response="200"),
        recv(response="487"),
        send(_request("ACK", caller, branch=_BRANCH)),
    )


def caller_gives_up_unheard(caller: str, after_ms: int) -> str:
    """Cancels before there was any sign of life."""
    return scenario(
        "a caller who gives up before anything has come of it",
        _invite(caller, branch=_BRANCH),
        recv(response="100"),
        f'<pause milliseconds="{after_ms}"/>',
        send(_request("CANCEL", caller, branch=_BRANCH, tag=False), retrans="500"),
        recv(response="200"),
        recv(response="487"),
        send(_request("ACK", caller, branch=_BRANCH)),
    )


# ---- callers of a trickle: many calls by one scenario; number and caller come from a file of SIPp's (-inf)

_REFUSALS: Final = (403, 404, 408, 410, 480, 483, 484, 486, 488, 500, 501, 502, 503, 603)


def callers_of_all_kinds(shortest_talk_ms: int, longest_talk_ms: int) -> str:
    """Takes what comes: refused, or talks so long and hangs up."""
    caller = "[field1]"
    refusals = (recv(response=str(code), optional="true", next="80") for code in _REFUSALS)
    text = scenario(
        "callers of all kinds",
        _invite(caller, branch=_BRANCH),
        *_PROVISIONAL,
        *refusals,
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        f'<pause distribution="uniform" min="{shortest_talk_ms}" max="{longest_talk_ms}"/>',
        send(_request("BYE", caller, number=2), retrans="500"),
        recv(response="200"),
        '<nop next="99"/>',
        '<label id="80"/>',
        send(_request("ACK", caller, branch=_BRANCH)),
        '<label id="99"/>',
    )
    return text.replace("[service]", "[field0]")


def callers_who_listen() -> str:
    """The other side hangs up."""
    return caller_listens("[field1]").replace("[service]", "[field0]")


def callers_who_give_up(after_ms: int) -> str:
    """Cancel while it rings."""
    return caller_gives_up("[field1]", after_ms).replace("[service]", "[field0]")


def callers_who_take_any_end() -> str:
    """Refused, or answered; the other side hangs up."""
    caller = "[field1]"
    text = scenario(
        "callers who take any end",
        _invite(caller, branch=_BRANCH),
        *_PROVISIONAL,
        *(recv(response=str(code), optional="true", next="80") for code in _REFUSALS),
        recv(response="200", rrs="true"),
        send(_request("ACK", caller)),
        recv(request="BYE"),
        send(reply("200 OK", tag=False)),
        '<nop next="99"/>',
        '<label id="80"/>',
        send(_request("ACK", caller, branch=_BRANCH)),
        '<label id="99"/>',
    )
    return text.replace("[service]", "[field0]")
