"""What somebody tries at a Kafka broker: operations on topics, groups and the cluster as a user; a login, byte by byte.

Each attempt is a request of the protocol, made so that it does no harm where it is allowed: an empty batch, an offset
that is there already, a change that is only checked. `refused_topics` and its like say where the broker answered that
the user may not; any other answer counts as allowed.
"""

import contextlib
import gc
import logging
import socket
import ssl
import struct
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from kafka.admin import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
)
from kafka.protocol.admin import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
    DescribeUserScramCredentialsRequest,
    IncrementalAlterConfigsRequest,
)
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest

from runtime.connections import Kafka

NOT_ALLOWED: Final = {
    error.errno
    for error in (
        ClusterAuthorizationFailedError,
        GroupAuthorizationFailedError,
        TopicAuthorizationFailedError,
        TransactionalIdAuthorizationFailedError,
    )
}
_TOPIC_RESOURCE: Final = 2
_TIMEOUT_MS: Final = 10_000
_NO_ANSWER_SECONDS: Final = 15.0


@contextlib.contextmanager
def client_of(kafka: Kafka) -> Iterator[KafkaAdminClient]:
    """A client that is logged in."""
    with contextlib.closing(
        KafkaAdminClient(**kafka.client(), request_timeout_ms=_TIMEOUT_MS, bootstrap_timeout_ms=_TIMEOUT_MS)
    ) as client:
        yield client


def is_refused(kafka: Kafka) -> bool:
    """Whether a client gets as far as to know the brokers: not without a login, with a wrong one, or an unknown CA."""
    with warnings.catch_warnings():
        # The client leaves the sockets of a failed start open, and what it logs would keep them so.
        warnings.simplefilter("ignore", ResourceWarning)
        logging.disable(logging.CRITICAL)
        try:
            KafkaAdminClient(**kafka.client(), request_timeout_ms=1_500, bootstrap_timeout_ms=1_500).close()
            refused = False
        except KafkaError:
            refused = True
        logging.disable(logging.NOTSET)
        gc.collect()
    return refused


def _ask(client: KafkaAdminClient, request: Any) -> Any:
    return client._manager.run(client._manager.send, request)


def _write(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    part = ProduceRequest.TopicProduceData.PartitionProduceData(index=0, records=b"")
    data = [ProduceRequest.TopicProduceData(name=name, partition_data=[part]) for name in topics]
    request = ProduceRequest(transactional_id=None, acks=-1, timeout_ms=_TIMEOUT_MS, topic_data=data, max_version=12)
    for topic in _ask(client, request).responses:
        yield topic.name, topic.partition_responses[0].error_code


def _read(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    part = FetchRequest.FetchTopic.FetchPartition(
        partition=0, current_leader_epoch=-1, fetch_offset=0, last_fetched_epoch=-1, log_start_offset=-1,
        partition_max_bytes=1_000,
    )  # fmt: skip
    asked = [FetchRequest.FetchTopic(topic=name, partitions=[part]) for name in topics]
    request = FetchRequest(
        max_wait_ms=0, min_bytes=0, max_bytes=10_000, isolation_level=0, topics=asked, forgotten_topics_data=[],
        rack_id="", max_version=12,
    )  # fmt: skip
    for topic in _ask(client, request).responses:
        yield topic.topic, topic.partitions[0].error_code


def _describe(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    part = ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition(
        partition_index=0, current_leader_epoch=-1, timestamp=-1
    )
    asked = [ListOffsetsRequest.ListOffsetsTopic(name=name, partitions=[part]) for name in topics]
    answer = _ask(
        client,
        ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=asked, timeout_ms=_TIMEOUT_MS, max_version=9),
    )
    for topic in answer.topics:
        yield topic.name, topic.partitions[0].error_code


def _delete_records(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    part = DeleteRecordsRequest.DeleteRecordsTopic.DeleteRecordsPartition(partition_index=0, offset=0)
    asked = [DeleteRecordsRequest.DeleteRecordsTopic(name=name, partitions=[part]) for name in topics]
    for topic in _ask(client, DeleteRecordsRequest(topics=asked, timeout_ms=_TIMEOUT_MS)).topics:
        yield topic.name, topic.partitions[0].error_code


def _create(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    asked = [
        CreateTopicsRequest.CreatableTopic(
            name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[]
        )
        for name in topics
    ]
    answer = _ask(client, CreateTopicsRequest(topics=asked, timeout_ms=_TIMEOUT_MS, validate_only=True))
    return [(topic.name, topic.error_code) for topic in answer.topics]


def _delete_topics(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    answer = _ask(
        client, DeleteTopicsRequest(topics=[], topic_names=list(topics), timeout_ms=_TIMEOUT_MS, max_version=5)
    )
    return [(topic.name, topic.error_code) for topic in answer.responses]


def _add_partitions(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    asked = [CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=99, assignments=None) for name in topics]
    answer = _ask(client, CreatePartitionsRequest(topics=asked, timeout_ms=_TIMEOUT_MS, validate_only=True))
    return [(topic.name, topic.error_code) for topic in answer.results]


def _read_settings(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    asked = [
        DescribeConfigsRequest.DescribeConfigsResource(
            resource_type=_TOPIC_RESOURCE, resource_name=name, configuration_keys=None
        )
        for name in topics
    ]
    answer = _ask(client, DescribeConfigsRequest(resources=asked))
    return [(one.resource_name, one.error_code) for one in answer.results]


def _change_settings(client: KafkaAdminClient, topics: Collection[str]) -> Iterable[tuple[str, int]]:
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    change = resource.AlterableConfig(name="retention.ms", config_operation=0, value="1000")
    asked = [resource(resource_type=_TOPIC_RESOURCE, resource_name=name, configs=[change]) for name in topics]
    answer = _ask(client, IncrementalAlterConfigsRequest(resources=asked, validate_only=True))
    return [(one.resource_name, one.error_code) for one in answer.responses]


# What is tried with a topic, and the operations of the table one of which allows it.
TOPIC_ATTEMPTS: Final[
    Mapping[str, tuple[frozenset[str], Callable[[KafkaAdminClient, Collection[str]], Iterable[tuple[str, int]]]]]
] = {
    "write": (frozenset({"write"}), _write),
    "read": (frozenset({"read"}), _read),
    "ask for offsets": (frozenset({"read", "write", "delete"}), _describe),
    "delete old messages": (frozenset({"delete"}), _delete_records),
    "create": (frozenset(), _create),
    "add partitions": (frozenset(), _add_partitions),
    "read its settings": (frozenset(), _read_settings),
    "change its settings": (frozenset(), _change_settings),
}


def allowed_topics(client: KafkaAdminClient, attempt: str, topics: Collection[str]) -> set[str]:
    """Those of the topics with which the attempt was not refused for want of a right."""
    answered = dict(TOPIC_ATTEMPTS[attempt][1](client, topics))
    assert answered.keys() == set(topics)
    return {name for name, code in answered.items() if code not in NOT_ALLOWED}


def may_delete_topics(client: KafkaAdminClient, topics: Collection[str]) -> set[str]:
    """Those of the topics that are being deleted by now. Kafka has one right for this and for old messages."""
    return {name for name, code in _delete_topics(client, topics) if code not in NOT_ALLOWED}


def allowed_with_group(client: KafkaAdminClient, group: str, topic: str) -> set[str]:
    """Which of describe, read and delete the user may do with a consumer group (read: with a topic of its own)."""
    part = OffsetCommitRequest.OffsetCommitRequestTopic.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=0, committed_leader_epoch=-1, committed_metadata=""
    )
    commit = OffsetCommitRequest(
        group_id=group, generation_id_or_member_epoch=-1, member_id="", group_instance_id=None,
        topics=[OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[part])], max_version=9,
    )  # fmt: skip
    fetch = OffsetFetchRequest(group_id=group, topics=None, require_stable=False, max_version=7)
    answers = {
        "describe": _ask(client, fetch).error_code,
        "read": _ask(client, commit).topics[0].partitions[0].error_code,
        "delete": _ask(client, DeleteGroupsRequest(groups_names=[group])).results[0].error_code,
    }
    return {name for name, code in answers.items() if code not in NOT_ALLOWED}


def allowed_with_cluster(client: KafkaAdminClient) -> set[str]:
    """What of the cluster's own the user may do: read ACLs and users, begin a transaction."""
    answers = {
        "read ACLs": DescribeAclsRequest(
            resource_type_filter=1, resource_name_filter=None, pattern_type_filter=1, principal_filter=None,
            host_filter=None, operation=1, permission_type=1,
        ),
        "read users": DescribeUserScramCredentialsRequest(  # by name: of all, Kafka 4.4 answers a refused one nothing
            users=[DescribeUserScramCredentialsRequest.UserName(name="streamco-cli")]
        ),
        "begin a transaction": InitProducerIdRequest(
            transactional_id="streamco-billing-0", transaction_timeout_ms=1_000, producer_id=-1, producer_epoch=-1,
            max_version=4,
        ),
    }  # fmt: skip
    return {name for name, request in answers.items() if _ask(client, request).error_code not in NOT_ALLOWED}


# Without a client


def _frame(key: int, version: int, body: bytes) -> bytes:
    header = struct.pack(">hhih", key, version, 1, -1)
    return struct.pack(">i", len(header) + len(body)) + header + body


def answers_without_login(port: int, keys: Iterable[int], tls: ssl.SSLContext | None = None) -> set[int]:
    """Those kinds of requests (by their keys) to which the broker answers anything on a fresh connection."""
    opened: dict[int, socket.socket] = {}
    try:
        for key in keys:
            opened[key] = socket.create_connection(("127.0.0.1", port), timeout=_NO_ANSWER_SECONDS)
            if tls is not None:
                opened[key] = tls.wrap_socket(opened[key], server_hostname="127.0.0.1")
            opened[key].sendall(_frame(key, 0, b"\0" * 64))
        return {key for key, connection in opened.items() if _answer(connection)}
    finally:
        for connection in opened.values():
            connection.close()


def _answer(connection: socket.socket) -> bytes:
    """What comes until the other side closes the connection, or has said something."""
    try:
        return connection.recv(4)
    except (ConnectionResetError, ssl.SSLEOFError):
        return b""


def logs_in(port: int, user: str, password: str, mechanism: str = "PLAIN") -> bool:
    """Whether a login by PLAIN is accepted at a port, be it a broker's or a controller's."""
    with socket.create_connection(("127.0.0.1", port), timeout=_NO_ANSWER_SECONDS) as connection:
        named = mechanism.encode()
        connection.sendall(_frame(17, 1, struct.pack(">h", len(named)) + named))
        if _response(connection)[:2] != b"\0\0":
            return False
        token = b"\0" + user.encode() + b"\0" + password.encode()
        connection.sendall(_frame(36, 0, struct.pack(">i", len(token)) + token))
        return _response(connection)[:2] == b"\0\0"


def _response(connection: socket.socket) -> bytes:
    """The body of the next answer; nothing where the connection ends."""
    head = _answer(connection)
    if len(head) < 4:
        return b"\xff\xff"
    (size,) = struct.unpack(">i", head)
    body = b""
    while len(body) < size and (more := connection.recv(size - len(body))):
        body += more
    return body[4:]  # behind the correlation id
