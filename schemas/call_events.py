"""Events of calls and their legs, from the first line to the last."""

from typing import Annotated, Literal

import msgspec

from schemas.event_base import AtMs, CallId, Cause, Event, EventError, Leg, LengthMs, Short, Text, check_call_id
from schemas.facts import Facts, FactsError, Side, check_facts

ReleaseSide = Literal["caller", "callee", "us", "unknown"]
DialStatus = Literal[
    "", "ANSWER", "BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL", "DONTCALL", "TORTURE", "INVALIDARGS"
]


class LegStarted(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="leg_started"):
    """An outbound leg is about to be dialled. For the live view; never for the bill."""

    call_id: CallId
    leg: Leg
    started_at_ms: AtMs
    call_started_at_ms: AtMs
    facts: Facts  # payable
    call_facts: Facts  # receivable: for the running revenue


class LegRinging(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="leg_ringing"):
    """The first 18x of an outbound leg. For the live view (from AMI)."""

    call_id: CallId
    leg: Leg
    ringing_at_ms: AtMs


class LegAnswered(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="leg_answered"):
    """200 OK on an outbound leg, by Asterisk's own event. For the live view; the bill reads leg_ended."""

    call_id: CallId
    leg: Leg
    answered_at_ms: AtMs


class Closed(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the closing of any leg says: the shared part of leg_ended and call_ended.

    `duration_ms` is answer to release, 0 if not answered; `asterisk_duration_ms` is Asterisk's own, by the wall clock;
    `clock_disagreement` is set when they differ by more than a second because that clock was set meanwhile, and for an
    answered leg whose line lacks a reading or may mean two lengths (schemas/journal_answer.py).
    `pdd_ms`: outbound, INVITE sent to the first 18x or 200; inbound, INVITE received to the first 18x or 200 sent.
    `estimated`: Asterisk crashed with the call up, and this is its agent's word: the end is the last heartbeat that
    listed the call, the kind in the event id is `leg_estimated` or `call_estimated`. A true closing may still come.
    """

    call_id: CallId
    call_started_at_ms: AtMs
    started_at_ms: AtMs
    answered_at_ms: AtMs | None
    ended_at_ms: AtMs
    duration_ms: LengthMs
    asterisk_duration_ms: LengthMs | None
    clock_disagreement: bool
    pdd_ms: LengthMs | None
    dial_status: DialStatus
    cause: Cause
    release_side: ReleaseSide
    estimated: bool = False
    sip_call_id: Annotated[str, msgspec.Meta(max_length=128)] = ""  # of the leg's own INVITE: the wire's text


class LegEnded(Closed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="leg_ended"):
    """An outbound leg is closed, by its result on the caller's channel. Event id: leg_id + ':leg_ended'."""

    leg: Leg
    sip_code: Annotated[int, msgspec.Meta(ge=100, le=699)] | None  # the vendor's final answer, where there was one
    facts: Facts  # payable


class CallEnded(Closed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="call_ended"):
    """The inbound leg is closed, by the call's end. Event id: call_id/0 + ':call_ended'.

    `legs` is the number of the last hunted leg (0: none). `last_facts` are that leg's, so that the inbound leg knows
    the vendor that carried it. `reason` is a Refusal, of a call that we ended an Ending, or empty.
    `facts` is absent when no router answered.
    """

    legs: Annotated[int, msgspec.Meta(ge=0, le=32)]
    reason: Short
    caller_dialled: Text  # what the caller's INVITE said: hostile text, for display only
    callee_dialled: Text
    endpoint: Short
    remote_address: Short
    facts: Facts | None  # receivable
    last_facts: Facts | None  # payable


def check_side(name: str, facts: Facts, side: Side) -> None:
    """Its FACTS are possible, and of this side. Raises EventError."""
    try:
        check_facts(facts)
    except FactsError as error:
        raise EventError(f"{name}: {error}") from error
    if facts.side != side:
        raise EventError(f"{name}.side {facts.side!r}: must be {side!r}")


def check_closed(event: LegEnded | CallEnded) -> None:
    """A closing's rules. Raises EventError."""
    check_call_id(event.call_id)
    if event.answered_at_ms is None and event.duration_ms:
        raise EventError(f"duration_ms {event.duration_ms}: a leg that was not answered has no duration")
    if event.facts is not None:
        check_side("facts", event.facts, "payable" if isinstance(event, LegEnded) else "receivable")
    if isinstance(event, CallEnded) and event.last_facts is not None:
        check_side("last_facts", event.last_facts, "payable")
