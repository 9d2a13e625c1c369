"""The events of the platform: one frozen structure each, versioned, JSON on the wire.

`v` is the version of that event's shape; a reader refuses one that it does not know (dead letter), it never guesses.
Times are unix milliseconds UTC (`_at_ms`); lengths say their unit. Amounts are micros, prices 10⁻⁸ per minute.
Strings that come from the wire are bounded. Golden examples: schemas/examples/.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from schemas.decision import CallRouted, CallRoutedText, Candidate, ExplainedCall, SortKey, check_routed, explained
from schemas.event_base import (
    AtMs,
    CallId,
    Cause,
    Event,
    EventError,
    Leg,
    LengthMs,
    Node,
    Short,
    Text,
    check_call_id,
)
from schemas.facts import CurrencyCode, Facts, FactsError, Id, RowId, Side, check_facts, is_currency
from schemas.frame import FrameError, unpack_frame
from schemas.ids import make_leg_id

__all__ = [
    "ActiveChannel", "AnyEvent", "CallEnded", "CallRouted", "CallRoutedText", "Candidate", "Closed", "DeadLetter",
    "DialStatus", "EventError", "ExplainedCall", "LegAnswered", "LegEnded", "LegRinging", "LegStarted",
    "NodeHeartbeat", "NodeRestarted", "RatedLeg", "ReleaseSide", "SortKey", "check_event", "decode_event",
    "encode_event", "explained", "readable_events",
]  # fmt: skip

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


class ActiveChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A call that is really there on a node, as AMI's Status showed it."""

    call_id: CallId
    leg: Annotated[int, msgspec.Meta(ge=0, le=32)]  # the leg that is up or being dialled; 0 before the first
    answered: bool
    seconds: Annotated[int, msgspec.Meta(ge=0)]


class NodeHeartbeat(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="node_heartbeat"):
    """Every few seconds from a node agent: the node lives, and these calls are really there."""

    node: Node
    epoch: Id
    at_ms: AtMs
    agent_id: Short
    journal_offset: Id
    journal_waiting_bytes: Id
    calls: list[ActiveChannel]


class NodeRestarted(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="node_restarted"):
    """The agent saw Asterisk start anew: a new epoch."""

    node: Node
    epoch: Id
    previous_epoch: Id
    at_ms: AtMs


class RatedLeg(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rated_leg"):
    """A closed leg with its bill: what the ledger posts and what a CDR is made of. Event id: leg_id:rated_leg:revision.

    `ended` is the closing event itself, so that nothing is copied field by field and lost on the way.
    `amount_micros` is what the account owes us (receivable) or we owe it (payable): never negative.
    `revision`: 0 of an estimated closing, 1 of a true one, 2 and above when rated again; the highest is the leg's bill.
    """

    leg_id: Annotated[str, msgspec.Meta(max_length=64)]
    revision: Annotated[int, msgspec.Meta(ge=0, le=32_767)] = 0
    side: Side
    account_id: RowId
    currency: CurrencyCode
    billed_seconds: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    amount_micros: Annotated[int, msgspec.Meta(ge=0, le=10**18)]
    linked_leg_id: Annotated[
        str, msgspec.Meta(max_length=64)
    ]  # inbound: the last hunted leg or ''; outbound: the inbound
    ended: LegEnded | CallEnded


class DeadLetter(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="dead_letter"):
    """Something that could not be processed: kept whole, with its origin and the reason. Event id: its origin."""

    origin: Text  # topic/partition/offset/index, or journal:NODE:FILE:OFFSET
    reason: Annotated[str, msgspec.Meta(max_length=1024)]
    raw_base64: str
    at_ms: AtMs
    leg_id: Annotated[str, msgspec.Meta(max_length=64)] = ""  # where it could still be told


AnyEvent = (
    LegStarted | LegRinging | LegAnswered | LegEnded | CallEnded | CallRouted | NodeHeartbeat | NodeRestarted
    | RatedLeg | DeadLetter
)  # fmt: skip


_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
_encoder: Final = msgspec.json.Encoder()


def decode_event(raw: bytes | msgspec.Raw) -> AnyEvent:
    """The event of its JSON bytes. Raises EventError."""
    try:
        event = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(str(error)[:500]) from error
    check_event(event)
    return event


def readable_events(message: bytes | None) -> Iterator[AnyEvent]:
    """The events of a framed message, for whoever may pass over what cannot be read: it is billing's dead letter."""
    try:
        raws = unpack_frame(message)
    except FrameError:
        return
    for raw in raws:
        try:
            yield decode_event(raw)
        except EventError:
            continue


def encode_event(event: AnyEvent | CallRoutedText | ExplainedCall) -> bytes:
    """The JSON bytes of an event."""
    return _encoder.encode(event)


def check_event(event: AnyEvent) -> None:
    """Rules that the types do not say: shapes of texts, and what spans fields. Raises EventError."""
    if isinstance(event, RatedLeg):
        _check_rated(event)
    elif isinstance(event, LegEnded | CallEnded):
        _check_closed(event)
    elif isinstance(event, LegStarted):
        check_call_id(event.call_id)
        _check_facts("facts", event.facts, "payable")
        _check_facts("call_facts", event.call_facts, "receivable")
    elif isinstance(event, LegRinging | LegAnswered):
        check_call_id(event.call_id)
    elif isinstance(event, CallRouted):
        check_routed(event)
    elif isinstance(event, NodeHeartbeat):
        for call in event.calls:
            check_call_id(call.call_id)


def _check_facts(name: str, facts: Facts, side: Side) -> None:
    try:
        check_facts(facts)
    except FactsError as error:
        raise EventError(f"{name}: {error}") from error
    if facts.side != side:
        raise EventError(f"{name}.side {facts.side!r}: must be {side!r}")


def _check_closed(event: LegEnded | CallEnded) -> None:
    check_call_id(event.call_id)
    if event.answered_at_ms is None and event.duration_ms:
        raise EventError(f"duration_ms {event.duration_ms}: a leg that was not answered has no duration")
    if event.facts is not None:
        _check_facts("facts", event.facts, "payable" if isinstance(event, LegEnded) else "receivable")
    if isinstance(event, CallEnded) and event.last_facts is not None:
        _check_facts("last_facts", event.last_facts, "payable")


def _check_rated(event: RatedLeg) -> None:
    _check_closed(event.ended)
    number = event.ended.leg if isinstance(event.ended, LegEnded) else 0
    if event.leg_id != make_leg_id(event.ended.call_id, number):
        raise EventError(f"leg_id {event.leg_id!r}: ended is leg {number} of {event.ended.call_id}")
    if event.side != ("receivable" if isinstance(event.ended, CallEnded) else "payable"):
        raise EventError(f"side {event.side!r}: must be the other on a {type(event.ended).__name__}")
    if not is_currency(event.currency):
        raise EventError(f"currency {event.currency!r}: must be three capital letters")
