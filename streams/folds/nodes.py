"""The newest heartbeat of each node, whatever the order in which heartbeats arrive."""

from schemas.events import NodeHeartbeat
from schemas.live import NodeState


def apply_heartbeat(state: NodeState | None, beat: NodeHeartbeat) -> NodeState:
    """The node's state after one more heartbeat: the later one stands."""
    if state is not None and state.at_ms >= beat.at_ms:
        return state
    return NodeState(
        node=beat.node,
        epoch=beat.epoch,
        at_ms=beat.at_ms,
        agent_id=beat.agent_id,
        calls=len(beat.calls),
        journal_waiting_bytes=beat.journal_waiting_bytes,
    )
