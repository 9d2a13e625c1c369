"""The Kafka topics: name, what is in it, key, partitions, retention. All are made before any process uses them.

All topics have the same number of partitions (Faust joins need it). No message is deleted by its age alone: the auditor
deletes ranges that it has sealed (SEALED), Kafka compacts the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DEFAULT_PARTITIONS: Final = 8


@dataclass(frozen=True)
class Topic:
    """A topic. `keyed_by` names what decides the partition; `framed` says whether a message is a frame of events."""

    name: str
    holds: str
    keyed_by: str
    framed: bool = True
    compacted: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """The broker's settings of the topic."""
        if self.compacted:
            return {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "600000"}
        return {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


CALLS: Final = Topic("calls", "events of calls and legs, from the journals", "call_id")
DECISIONS: Final = Topic("decisions", "call_routed: the router's decisions", "call_id")
NODES: Final = Topic("nodes", "node_heartbeat, node_restarted", "node")
RATED_LEGS: Final = Topic("rated-legs", "rated_leg: every closed leg with its bill", "account_id")
DEAD_LETTERS: Final = Topic("dead-letters", "dead_letter: what could not be processed", "origin")
# The changelogs of the live tables, which the dashboards read from the beginning. Message: key call_id or node, JSON.
ACTIVE_CALLS: Final = Topic("active-calls", "the state of each call that is going on", "call_id", False, True)
NODE_STATES: Final = Topic("node-states", "the last heartbeat of each node", "node", False, True)
# Read whole by every router, and by what shows it. Message: schemas/quality.py as JSON.
QUALITY: Final = Topic(
    "quality", "sums over the last minutes, of each vendor, code and customer", "Quality.key", False, True
)

TOPICS: Final = (CALLS, DECISIONS, NODES, RATED_LEGS, DEAD_LETTERS, ACTIVE_CALLS, NODE_STATES, QUALITY)

# The topics whose old ranges are sealed and deleted, and the consumer groups of ours that must have done with them.
SEALED: Final[Mapping[Topic, tuple[str, ...]]] = MappingProxyType(
    {
        CALLS: ("streamco-billing", "streamco-live"),
        DECISIONS: ("streamco-cdrs",),
        NODES: ("streamco-live",),
        RATED_LEGS: ("streamco-billing", "streamco-cdrs"),
        DEAD_LETTERS: ("streamco-billing",),
    }
)
