"""The journal lines of one call, as the dialplan writes them: values in, `Line` out. Pure.

`Call` and `Leg` are what a line is about; simulator/hunt.py decides when which line is due.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import quote

from simulator.plans import LegPlan
from simulator.sip_causes import status_line
from simulator.wire_texts import encoded

Side = Literal["caller", "callee", "us"]


class Line(NamedTuple):
    """A journal line, ready for schemas.journal.encode_line."""

    kind: str
    at_ms: int
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """What is fixed about one call: its id, its moment, and what Asterisk read in the INVITE (wire_texts.py)."""

    call_id: str
    started_at_ms: int
    endpoint: str
    remote_address: str
    callee: str
    caller: str
    patience_ms: int


@dataclass(slots=True)
class Leg:
    """The leg that is being dialled or talked on."""

    number: int
    started_at_ms: int
    timeout_ms: int
    pdd_limit_ms: int  # 0: none
    dial: str
    facts: str
    plan: LegPlan
    ring_ms: int | None = None
    progress_ms: int | None = None
    answered_at_ms: int | None = None


def leg_start(call: Call, leg: Leg, call_facts: str) -> Line:
    """An outbound leg is about to be dialled."""
    values = {
        "call": call.call_id,
        "leg": str(leg.number),
        "at": seconds(leg.started_at_ms),
        "begin": seconds(call.started_at_ms),
        "facts": leg.facts,
        "cfacts": call_facts,
    }
    return Line("LEG_START", leg.started_at_ms, values)


def channel_line(call: Call, event: Literal["ANSWER", "HANGUP"], leg: int, at_ms: int) -> Line:
    """Asterisk's own line of a leg's channel; leg 0: the caller's."""
    return Line(event, at_ms, {"call": call.call_id, "leg": str(leg) if leg else ""})


def leg_result(call: Call, leg: Leg, at_ms: int, *, status: str, cause: int, sip: str, side: Side) -> Line:
    """The line that closes an outbound leg; `sip` is the vendor's final refusal, where there was one."""
    answered_at_ms = leg.answered_at_ms
    values = {
        "call": call.call_id,
        "leg": str(leg.number),
        "begin": seconds(call.started_at_ms),
        "start": seconds(leg.started_at_ms),
        "end": seconds(at_ms),
        "ring": _known(leg.ring_ms),
        "prog": _known(leg.progress_ms),
        "ansms": "" if answered_at_ms is None else str(at_ms - answered_at_ms),
        "status": status,
        "cause": str(cause),
        "sip": quote(status_line(200) if answered_at_ms is not None else sip or _provisional(leg)),
        "src": side,
        "sid": f"{call.call_id}-{leg.number}%40127.0.0.1" if leg.plan.has_channel else "",
        "facts": leg.facts,
    }
    return Line("LEG_RESULT", at_ms, values)


def _provisional(leg: Leg) -> str:
    """What a vendor has said that was not refused: one that lives says 100 at once."""
    plan = leg.plan
    lives = any(sign_ms is not None for sign_ms in (plan.ring_ms, plan.progress_ms, plan.final_ms))
    return status_line(100) if lives else ""


def call_end(
    call: Call,
    at_ms: int,
    *,
    answered_at_ms: int | None,
    pdd_ms: int | None,
    status: str,
    cause: int,
    side: Side,
    legs: int,
    reason: str,
    facts: str,
    last_facts: str,
) -> Line:
    """The line that closes the inbound leg. `legs`: number of the last leg that was dialled."""
    values = {
        "call": call.call_id,
        "start": seconds(call.started_at_ms),
        "end": seconds(at_ms),
        "pdd": _known(pdd_ms),
        "ansms": "" if answered_at_ms is None else str(at_ms - answered_at_ms),
        "status": status,
        "cause": str(cause),
        "src": side,
        "legs": str(legs),
        "reason": reason,
        "caller": encoded(call.caller),
        "callee": encoded(call.callee),
        "endpoint": encoded(call.endpoint),
        "addr": encoded(call.remote_address),
        "sid": f"{call.call_id}%40{encoded(call.remote_address)}",
        "facts": facts,
        "last": last_facts,
    }
    return Line("CALL_END", at_ms, values)


def seconds(at_ms: int) -> str:
    """A moment as the dialplan writes it."""
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"


def _known(value: int | None) -> str:
    return "" if value is None else str(value)
