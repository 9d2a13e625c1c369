"""Gives the users of schemas/kafka_access.py their passwords (SCRAM) and their ACLs, as the owner, at each `up`.

The list is made as the table says: what lacks is added, what our users have beyond it is taken away, so that a version
that needs less has less. Users and ACLs of others are left alone. A password goes to the broker salted and hashed, as
the protocol has it: the broker never has the password itself.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

import structlog
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from pydantic import SecretStr

from runtime.connections import Kafka, SaslMechanism
from runtime.topics import REQUEST_MS, TopicError, require_reachable
from schemas.kafka_access import ACCESS, MECHANISM, Grant, all_grants, user_of

# The least that Kafka takes: our passwords are 256 random bits, which nobody guesses at any speed, and each new
# connection costs so many rounds.
ITERATIONS: Final = 4096
_RESOURCES: Final = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
_OPERATIONS: Final = {
    "read": ACLOperation.READ,
    "write": ACLOperation.WRITE,
    "delete": ACLOperation.DELETE,
    "describe": ACLOperation.DESCRIBE,
}
_EVERYTHING: Final = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)

_log = structlog.get_logger(__name__)


class Changes(NamedTuple):
    """What was done to the list of ACLs."""

    added: int
    removed: int


def give_access(owner: Kafka, passwords: Mapping[str, SecretStr], mechanism: SaslMechanism = MECHANISM) -> Changes:
    """Let each kind of process log in with its password, and do what the table says. Safe to run at every start.

    `owner`: a login that may do this. `passwords`: by kind of process. `mechanism` of the users: those of PLAIN are the
    broker's own configuration, so that only the list of ACLs is made. Raises TopicError.
    """
    with administer(owner) as admin:
        _set_passwords(admin, passwords, mechanism)
        changes = _set_list(admin)
    if any(changes):
        _log.info("access to Kafka set", added=changes.added, removed=changes.removed)
    return changes


@contextlib.contextmanager
def administer(owner: Kafka) -> Iterator[KafkaAdminClient]:
    """A client of the owner's, to change users and rights. Raises TopicError for what Kafka's client raises in it."""
    require_reachable(owner)
    try:
        with contextlib.closing(
            KafkaAdminClient(**owner.client(), request_timeout_ms=REQUEST_MS, bootstrap_timeout_ms=REQUEST_MS)
        ) as admin:
            yield admin
    except KafkaError as error:
        raise TopicError(f"Kafka at {owner.bootstrap}: users and their rights cannot be changed: {error}") from error


def _set_passwords(admin: KafkaAdminClient, passwords: Mapping[str, SecretStr], mechanism: SaslMechanism) -> None:
    if mechanism == "PLAIN":
        return
    refused = admin.alter_user_scram_credentials(
        [
            UserScramCredentialUpsertion(user_of(who), mechanism, password.get_secret_value(), iterations=ITERATIONS)
            for who, password in sorted(passwords.items())
        ]
    )
    for user, reason in refused.items():
        if reason is not None:
            raise TopicError(f"Kafka does not take the user {user}: {reason}")


def _set_list(admin: KafkaAdminClient) -> Changes:
    wanted = {acl_of(grant) for grant in all_grants()}
    there = set(_ours(admin))
    if missing := wanted - there:
        answer = admin.create_acls(sorted(missing, key=repr))
        if answer["failed"]:
            raise TopicError(f"Kafka does not take our ACLs: {answer['failed'][0].__name__}")
    if surplus := there - wanted:
        take_away(admin, [_exactly(acl) for acl in surplus])
    return Changes(len(missing), len(surplus))


def take_away(admin: KafkaAdminClient, lines: Collection[ACLFilter]) -> None:
    """Delete all that these filters fit. Raises TopicError."""
    for _, _, error in admin.delete_acls(list(lines)):
        if error.errno:
            raise TopicError(f"Kafka does not give up an ACL: {error.__name__}")


def acl_of(grant: Grant) -> ACL:
    """A line of the table as Kafka has it: from any host, by the whole name (of `*`: every name)."""
    resource = ResourcePattern(_RESOURCES[grant.resource], grant.name, ACLResourcePatternType.LITERAL)
    return allowed(grant.user, _OPERATIONS[grant.operation], resource)


def allowed(user: str, operation: ACLOperation, resource: ResourcePattern) -> ACL:
    """The line by which a user may do this with it, from anywhere."""
    return ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, resource)


def lines_of(user: str | None) -> ACLFilter:
    """Every line of a user; None: of everybody."""
    principal = None if user is None else f"User:{user}"
    return ACLFilter(principal, None, ACLOperation.ANY, ACLPermissionType.ANY, _EVERYTHING)


def _ours(admin: KafkaAdminClient) -> Iterator[ACL]:
    """What the broker has for our users."""
    users: Collection[str] = {f"User:{user_of(who)}" for who in ACCESS}
    for acl in admin.describe_acls(lines_of(None))[0]:
        if acl.principal in users:
            yield acl


def _exactly(acl: ACL) -> ACLFilter:
    pattern = acl.resource_pattern
    return ACLFilter(
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
        ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type),
    )
