"""The live view's values, as they lie on the compacted topics `active-calls` and `node-states` (JSON, key raw text).

`LiveCall` is the state of an order-insensitive fold: any order of a call's events, any duplicates, give the same state.
A call that has ended stays for a while, so that a late event cannot bring it back, then becomes a tombstone.
"""

from typing import Final, Literal

import msgspec

from schemas.event_base import AtMs, CallId, Node
from schemas.facts import Facts, Id


class LiveLeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One outbound leg of a live call: whatever is known of it so far."""

    leg: int
    facts: Facts | None = None
    started_at_ms: AtMs | None = None
    ringing_at_ms: AtMs | None = None
    answered_at_ms: AtMs | None = None
    ended_at_ms: AtMs | None = None


class LiveCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that goes on, or has just ended. `legs` are in hunt order."""

    v: Literal[1] = 1
    call_id: CallId
    call_started_at_ms: AtMs | None = None
    call_facts: Facts | None = None
    legs: tuple[LiveLeg, ...] = ()
    ended_at_ms: AtMs | None = None


class NodeState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest heartbeat of a node, without its calls."""

    v: Literal[1] = 1
    node: Node
    epoch: Id
    at_ms: AtMs
    agent_id: str
    calls: int
    journal_waiting_bytes: Id


LIVE_CALL_DECODER: Final = msgspec.json.Decoder(LiveCall)
NODE_STATE_DECODER: Final = msgspec.json.Decoder(NodeState)
