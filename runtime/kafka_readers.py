"""Readers of Kafka's topics that are none of ours: each a user of its own, that reads what it was given and no more."""

import re
import secrets
from collections.abc import Collection
from typing import Final, NamedTuple

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from runtime.connections import Kafka, SaslMechanism
from runtime.kafka_access import ITERATIONS, administer, allowed, lines_of, take_away
from runtime.topics import TopicError
from schemas.topics import TOPICS

PREFIX: Final = "reader-"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Reader(NamedTuple):
    """`user`: its login. Its consumer groups have that name, or begin with it and a dot."""

    user: str
    topics: tuple[str, ...]


def add_reader(owner: Kafka, name: str, topics: Collection[str], mechanism: SaslMechanism) -> tuple[Reader, str]:
    """Make a reader, or give one that is there a new password and these topics; the reader and its password.

    Raises TopicError.
    """
    user = _user(name)
    if unknown := sorted(set(topics) - {topic.name for topic in TOPICS}):
        raise TopicError(f"topic {unknown[0]!r}: must be one of {', '.join(topic.name for topic in TOPICS)}")
    if mechanism == "PLAIN":
        raise TopicError("users of PLAIN are the broker's own configuration: make the reader there")
    password = secrets.token_urlsafe(32)
    with administer(owner) as admin:
        take_away(admin, [lines_of(user)])
        lines = [_line(user, ResourceType.TOPIC, topic) for topic in sorted(set(topics))]
        lines.append(_line(user, ResourceType.GROUP, user))
        # A dot is in no reader's name: so nobody's groups are those of a reader with a longer name.
        lines.append(_line(user, ResourceType.GROUP, f"{user}.", ACLResourcePatternType.PREFIXED))
        if failed := admin.create_acls(lines)["failed"]:
            raise TopicError(f"Kafka does not take the rights of {user}: {failed[0].__name__}")
        _change(admin, user, UserScramCredentialUpsertion(user, mechanism, password, iterations=ITERATIONS))
    return Reader(user, tuple(sorted(set(topics)))), password


def remove_reader(owner: Kafka, name: str, mechanism: SaslMechanism) -> None:
    """End a reader's login and rights. (A connection that it has goes on without rights.) Raises TopicError."""
    user = _user(name)
    with administer(owner) as admin:
        if user not in {reader.user for reader in _readers(admin)}:
            raise TopicError(f"{name!r}: there is no such reader")
        _change(admin, user, UserScramCredentialDeletion(user, mechanism))
        take_away(admin, [lines_of(user)])


def list_readers(owner: Kafka) -> list[Reader]:
    """All of them, by name. Raises TopicError."""
    with administer(owner) as admin:
        return _readers(admin)


def _user(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TopicError(f"reader {name[:64]!r}: must be of the form {_NAME.pattern}")
    return PREFIX + name


def _change(
    admin: KafkaAdminClient, user: str, change: UserScramCredentialUpsertion | UserScramCredentialDeletion
) -> None:
    if reason := admin.alter_user_scram_credentials([change]).get(user):
        raise TopicError(f"Kafka does not take the change of {user}: {reason}")


def _readers(admin: KafkaAdminClient) -> list[Reader]:
    topics: dict[str, set[str]] = {}
    for acl in admin.describe_acls(lines_of(None))[0]:
        user = acl.principal.removeprefix("User:")
        if user.startswith(PREFIX):
            found = topics.setdefault(user, set())
            if acl.resource_pattern.resource_type == ResourceType.TOPIC:
                found.add(acl.resource_pattern.resource_name)
    return [Reader(user, tuple(sorted(names))) for user, names in sorted(topics.items())]


def _line(
    user: str, resource: ResourceType, name: str, pattern: ACLResourcePatternType = ACLResourcePatternType.LITERAL
) -> ACL:
    return allowed(user, ACLOperation.READ, ResourcePattern(resource, name, pattern))
