"""Who may do what in Kafka: one table, from which users and ACLs are made (runtime/kafka_access.py).

Each kind of process logs in as a user of its own, `streamco-KIND`, and may do what stands here and nothing else: it
makes and changes no topic, reads no settings, begins no transaction. Only the owner makes topics and users: that is the
login of `streamco up` and `streamco migrate`. Who reads or writes a topic may also ask for its partitions and offsets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from schemas.topics import (
    ACTIVE_CALLS,
    CALLS,
    DEAD_LETTERS,
    DECISIONS,
    NODE_STATES,
    NODES,
    QUALITY,
    RATED_LEGS,
    SEALED,
    Topic,
)

MECHANISM: Final = "SCRAM-SHA-512"  # that users log in by, unless a setting says another one
OWNER: Final = "owner"
EVERY: Final = "*"

Resource = Literal["topic", "group"]
Operation = Literal["read", "write", "delete", "describe"]


@dataclass(frozen=True)
class Access:
    """What a kind of process may do. `group`: of its own, whose offsets it keeps. `deletes`: old messages of a topic.

    `knows_groups`: it may ask for the offsets of every group, of others than ours too.
    """

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    deletes: tuple[Topic, ...] = ()
    group: str | None = None
    knows_groups: bool = False


class Grant(NamedTuple):
    """One line of Kafka's list: this user may do this with the topic or group of this name, from any host."""

    user: str
    resource: Resource
    name: str
    operation: Operation


ACCESS: Final[Mapping[str, Access]] = MappingProxyType(
    {
        "router": Access(reads=(QUALITY,), writes=(DECISIONS,)),
        "agent": Access(writes=(CALLS, NODES, DEAD_LETTERS)),
        "billing": Access(
            reads=(CALLS, RATED_LEGS, DEAD_LETTERS), writes=(RATED_LEGS, DEAD_LETTERS), group="streamco-billing"
        ),
        "cdrs": Access(reads=(RATED_LEGS, DECISIONS), writes=(DEAD_LETTERS,), group="streamco-cdrs"),
        # Its tables' changelogs are read again when it gets their partitions.
        "live": Access(
            reads=(CALLS, NODES, ACTIVE_CALLS, NODE_STATES),
            writes=(ACTIVE_CALLS, NODE_STATES, DEAD_LETTERS),
            group="streamco-live",
        ),
        "quality": Access(reads=(CALLS, QUALITY), writes=(QUALITY,)),
        "control": Access(reads=(RATED_LEGS, DECISIONS, ACTIVE_CALLS)),
        # It deletes what it has sealed, and what no group still needs.
        "auditor": Access(reads=tuple(SEALED), deletes=tuple(SEALED), knows_groups=True),
        "dashboards": Access(reads=(ACTIVE_CALLS, NODE_STATES, QUALITY)),
        # The audit and `check-routing` read; dead letters go back to the topics that they are from.
        "cli": Access(reads=(*SEALED, QUALITY), writes=(CALLS, DECISIONS, NODES, RATED_LEGS)),
    }
)


def user_of(who: str) -> str:
    """The name that a kind of process, or the owner, logs in as."""
    return f"streamco-{who}"


def password_setting(who: str) -> str:
    """The setting that holds the password of a kind of process, or of the owner."""
    return f"kafka_{who}_password"


def grants_of(who: str) -> frozenset[Grant]:
    """All that a kind of process may do. Raises KeyError for one that is not in the table."""
    access, user = ACCESS[who], user_of(who)
    made = {Grant(user, "topic", topic.name, "read") for topic in access.reads}
    made |= {Grant(user, "topic", topic.name, "write") for topic in access.writes}
    made |= {Grant(user, "topic", topic.name, "delete") for topic in access.deletes}
    if access.group is not None:
        made.add(Grant(user, "group", access.group, "read"))
    if access.knows_groups:
        made.add(Grant(user, "group", EVERY, "describe"))
    return frozenset(made)


def all_grants() -> frozenset[Grant]:
    """The whole table, as Kafka is given it."""
    return frozenset(grant for who in ACCESS for grant in grants_of(who))
