"""Events of nodes, from their agents."""

from typing import Annotated

import msgspec

from schemas.event_base import AtMs, CallId, Event, Node, Short
from schemas.facts import Id


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
