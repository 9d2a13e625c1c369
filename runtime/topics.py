"""Makes the Kafka topics of schemas/topics.py before any process uses them, and refuses topics that differ.

A topic with another number of partitions, or other settings, was made by someone else or for another configuration:
partitions decide where a key's events are, so nothing is changed silently.
"""

import socket
from collections.abc import Sequence
from typing import Final

import structlog
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from runtime.connections import Kafka
from schemas.topics import TOPICS, Topic

REQUEST_MS: Final = 20_000
CONNECT_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class TopicError(Exception):
    """The topics could not be made, or one that exists is not as the contract says. The text is for the user."""


def make_topics(kafka: Kafka, topics: Sequence[Topic] = TOPICS, *, replication: int = 1) -> list[str]:
    """Make what is missing, check what is there; the names of those made now. Safe to run twice and at once.

    Raises TopicError.
    """
    require_reachable(kafka)
    try:
        admin = KafkaAdminClient(**kafka.client(), request_timeout_ms=REQUEST_MS, bootstrap_timeout_ms=REQUEST_MS)
    except KafkaError as error:
        raise TopicError(f"Kafka at {kafka.bootstrap} does not answer: {error}") from error
    try:
        existing = set(admin.list_topics())
        made = [topic.name for topic in topics if topic.name not in existing]
        _create(admin, [topic for topic in topics if topic.name in made], kafka.partitions, replication)
        _check(admin, topics, kafka.partitions)
    except KafkaError as error:
        raise TopicError(f"Kafka at {kafka.bootstrap}: {error}") from error
    finally:
        admin.close()
    if made:
        _log.info("topics made", topics=made, partitions=kafka.partitions)
    return made


def require_reachable(kafka: Kafka) -> None:
    """Raise TopicError when no address takes a connection: the client would try for long, and leaves sockets open."""
    reason = ""
    for address in kafka.bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
            return
        except OSError as error:
            reason = str(error)
    raise TopicError(f"Kafka at {kafka.bootstrap} does not answer: {reason}")


def _create(admin: KafkaAdminClient, topics: Sequence[Topic], partitions: int, replication: int) -> None:
    if not topics:
        return
    wanted = {
        topic.name: {"num_partitions": partitions, "replication_factor": replication, "configs": topic.settings}
        for topic in topics
    }
    answer = admin.create_topics(wanted, raise_errors=False)
    for one in answer["topics"]:
        error = for_code(one["error_code"])
        if one["error_code"] and error is not TopicAlreadyExistsError:  # another process may be as quick as we are
            raise TopicError(f"topic {one['name']} cannot be made: {error.__name__} {one.get('error_message') or ''}")
    admin.wait_for_topics(list(wanted))


def _check(admin: KafkaAdminClient, topics: Sequence[Topic], partitions: int) -> None:
    names = [topic.name for topic in topics]
    found = {one["name"]: len(one["partitions"]) for one in admin.describe_topics(names)}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    settings = admin.describe_configs(resources, config_filter="all")["topic"]
    for topic in topics:
        if found.get(topic.name) != partitions:
            raise TopicError(
                f"topic {topic.name} has {found.get(topic.name)} partitions, the setting says {partitions}: "
                "a topic's partitions are chosen once, before its first message"
            )
        for name, value in topic.settings.items():
            if (real := settings[topic.name][name]["value"]) != value:
                raise TopicError(f"topic {topic.name}: {name} is {real!r}, it must be {value!r}")
