"""Kafka's logins and rights on the real broker: each user against the table, strangers, an older home, TLS."""

import dataclasses
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from kafka import KafkaConsumer, TopicPartition
from kafka_attempts import (
    TOPIC_ATTEMPTS,
    allowed_topics,
    allowed_with_cluster,
    allowed_with_group,
    answers_without_login,
    client_of,
    is_refused,
    logs_in,
    may_delete_topics,
)
from made_legs import produce
from own_kafka import AWKWARD, OwnKafka, make_certificate, start_own
from pydantic import SecretStr

from runtime.connections import Kafka
from runtime.kafka_access import Changes, acl_of, give_access, lines_of
from runtime.topics import TopicError, make_topics
from schemas.kafka_access import ACCESS, OWNER, Grant, grants_of, user_of
from schemas.topics import CALLS, RATED_LEGS, TOPICS
from streamco.embedded.temporary import TemporaryServers, password
from streamco.embedded.temporary_users import PASSWORDS, as_user
from streamco.kafka_reader_cli import kafka_reader
from streams.app import credentials

pytestmark = pytest.mark.servers
OF_OTHERS = "somebody-elses"
GROUPS = ("streamco-billing", "streamco-cdrs", "streamco-live", "somebody")


@pytest.fixture(scope="module")
def own() -> Iterator[OwnKafka]:
    with TemporaryServers() as servers:
        yield start_own(servers)


def messages(kafka: Kafka, topic: str, partition: int = 0) -> list[bytes]:
    """What stands in a partition."""
    consumer: Any = KafkaConsumer(**kafka.client(), auto_offset_reset="earliest", group_id=None)
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        end = consumer.end_offsets([place])[place]
        found: list[bytes] = []
        while len(found) < end:
            found += [record.value for records in consumer.poll(timeout_ms=500).values() for record in records]
        return found
    finally:
        consumer.close()


def expected_topics(who: str, attempt: str, topics: list[str]) -> set[str]:
    operations, _ = TOPIC_ATTEMPTS[attempt]
    granted = {grant.name for grant in grants_of(who) if grant.resource == "topic" and grant.operation in operations}
    return granted & set(topics)


def test_each_user_does_what_the_table_says_and_nothing_else(kafka: Kafka) -> None:
    with client_of(kafka) as owner:
        owner.create_topics({OF_OTHERS: {"num_partitions": 1, "replication_factor": 1}})
        owner.wait_for_topics([OF_OTHERS])
        for group in GROUPS:
            assert allowed_with_group(owner, group, CALLS.name) >= {"describe", "read"}  # and makes the broker's topic
    topics = [*(topic.name for topic in TOPICS), OF_OTHERS, "__consumer_offsets"]
    found: dict[tuple[str, str], set[str]] = {}
    wanted: dict[tuple[str, str], set[str]] = {}
    for who, access in ACCESS.items():
        with client_of(as_user(kafka, who)) as client:
            for attempt in TOPIC_ATTEMPTS:
                found[who, attempt] = allowed_topics(client, attempt, topics)
                wanted[who, attempt] = expected_topics(who, attempt, topics)
            deletes = {topic.name for topic in access.deletes}
            found[who, "delete topics"] = may_delete_topics(client, [one for one in topics if one not in deletes])
            readable = access.reads[0].name if access.reads else CALLS.name
            for group in GROUPS:
                found[who, group] = allowed_with_group(client, group, readable)
                wanted[who, group] = {"describe", "read"} if group == access.group else set()
                if access.knows_groups:
                    wanted[who, group] |= {"describe"}
            found[who, "cluster"] = allowed_with_cluster(client)
            wanted |= {(who, "delete topics"): set(), (who, "cluster"): set()}
    assert found == wanted
    assert sum(map(len, found.values())) > 40  # much is allowed: the attempts themselves do work


def test_the_owner_does_everything(kafka: Kafka) -> None:
    topics = [topic.name for topic in TOPICS]
    with client_of(kafka) as client:
        for attempt in TOPIC_ATTEMPTS:
            assert allowed_topics(client, attempt, topics) == set(topics)
        assert allowed_with_cluster(client) == {"read ACLs", "read users", "begin a transaction"}


def test_nobody_gets_an_answer_without_a_login(own: OwnKafka) -> None:
    """Of no kind of request, at neither port; but what a login begins with: ApiVersions (18), SaslHandshake (17)."""
    assert answers_without_login(own.settings.port, range(100)) <= {17, 18}
    assert answers_without_login(own.settings.controller_port, range(100)) <= {17, 18}
    tls = ssl.create_default_context(cafile=own.certificate)
    assert answers_without_login(own.tls_port, range(100), tls) <= {17, 18}


def test_a_stranger_s_clients_reach_nothing(own: OwnKafka) -> None:
    wrong = as_user(own.owner, "router").model_copy(update={"password": SecretStr("not the router's")})
    for kafka in (Kafka(bootstrap=own.owner.bootstrap), wrong):
        assert is_refused(kafka)
    assert not is_refused(own.owner)
    assert messages(own.owner, RATED_LEGS.name) == []


def test_a_password_is_good_for_its_user_and_its_port_alone(own: OwnKafka) -> None:
    owner, broker, port = user_of(OWNER), user_of("broker"), own.settings.port
    assert logs_in(port, owner, AWKWARD)
    for user, secret in (
        (owner, "wrong"), (owner, ""), (owner, PASSWORDS["router"].get_secret_value()), (broker, AWKWARD),
        (broker, ""), (user_of("router"), PASSWORDS["router"].get_secret_value()), ("", ""),
    ):  # fmt: skip
        assert not logs_in(port, user, secret), user
    # Nobody but the broker itself, whose password is nobody else's, is let in by the controller.
    for user in (owner, broker, user_of("router")):
        for mechanism in ("PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256"):
            assert not logs_in(own.settings.controller_port, user, AWKWARD, mechanism)


def test_passwords_are_in_no_argument_no_environment_no_log_and_in_files_of_ours_alone(own: OwnKafka) -> None:
    secrets = [AWKWARD, *(secret.get_secret_value() for secret in PASSWORDS.values())]
    broker_s = next(
        part.split('"')[1]
        for part in (own.settings.directory / "server.properties").read_text().split()
        if part.startswith("password=")
    )
    seen = [*own.process.cmdline(), *own.process.environ().values(), own.log.read_text()]
    assert not [secret for secret in (*secrets, broker_s) if any(secret in text for text in seen)]
    for path in own.settings.directory.rglob("*"):
        if path.is_file() and path.suffix not in (".index", ".timeindex"):  # of numbers alone, and large
            content = path.read_bytes()
            if broker_s.encode() in content:
                assert path.stat().st_mode & 0o777 == 0o600, path
            assert not [who for who, secret in PASSWORDS.items() if secret.get_secret_value().encode() in content]
    assert own.settings.directory.stat().st_mode & 0o777 == 0o700
    assert own.settings.directory.stat().st_uid == os.geteuid()


def test_an_older_home_keeps_its_messages_and_is_closed_to_strangers(own: OwnKafka) -> None:
    assert messages(own.owner, CALLS.name) == [b"before the logins"]
    assert messages(as_user(own.owner, "billing"), CALLS.name) == [b"before the logins"]


def test_the_list_is_made_as_the_table_says_and_others_lines_stay(own: OwnKafka) -> None:
    assert give_access(own.owner, PASSWORDS) == Changes(0, 0)
    surplus = acl_of(Grant(user_of("router"), "topic", RATED_LEGS.name, "write"))
    of_others = acl_of(Grant("reports", "topic", RATED_LEGS.name, "read"))
    missing = acl_of(min(grants_of("router")))
    with client_of(own.owner) as client:
        client.create_acls([surplus, of_others])
        client.delete_acls([missing])
    assert give_access(own.owner, PASSWORDS) == Changes(1, 1)
    with client_of(own.owner) as client:
        there = set(client.describe_acls(lines_of(None))[0])
    assert surplus not in there
    assert {missing, of_others} <= there


def test_a_new_password_ends_the_old_one(own: OwnKafka) -> None:
    changed = {"cli": SecretStr(password())}
    give_access(own.owner, changed)
    new = as_user(own.owner, "cli").model_copy(update={"password": changed["cli"]})
    assert messages(new, CALLS.name) == [b"before the logins"]
    assert is_refused(as_user(own.owner, "cli"))
    give_access(own.owner, PASSWORDS)
    assert messages(as_user(own.owner, "cli"), CALLS.name) == [b"before the logins"]


def test_only_the_owner_gives_access(own: OwnKafka) -> None:
    with pytest.raises(TopicError, match=r"users and their rights cannot be changed|does not take the user"):
        give_access(as_user(own.owner, "cli"), PASSWORDS)
    with pytest.raises(TopicError, match="topic other cannot be made: TopicAuthorizationFailedError"):
        make_topics(as_user(own.owner, "cli"), [dataclasses.replace(CALLS, name="other")])


async def test_tls_with_both_kinds_of_clients_and_no_other_authority(own: OwnKafka, tmp_path: Path) -> None:
    give_access(own.owner, PASSWORDS, "SCRAM-SHA-256")
    agent = own.over_tls("agent")
    produce(agent, CALLS, [(1, b"over TLS")])
    of_256 = agent.model_copy(update={"mechanism": "SCRAM-SHA-256"})
    for kafka in (agent, of_256):
        login = credentials_to_aiokafka_auth(credentials(kafka))
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **login) as producer:
            await producer.send_and_wait(CALLS.name, b"by Faust's client", partition=1)
    assert messages(own.over_tls("billing"), CALLS.name, 1) == [b"over TLS", *[b"by Faust's client"] * 2]
    _, other = make_certificate(tmp_path, "other")
    assert is_refused(agent.model_copy(update={"ca_file": other}))
    context = ssl.create_default_context(cafile=other)
    assert credentials(agent.model_copy(update={"ca_file": other})).ssl_context.get_ca_certs() == context.get_ca_certs()


def test_a_reader_of_somebody_s_reads_what_it_was_given_and_nothing_else(own: OwnKafka) -> None:
    environment = environment_of_own_users(own)
    done = CliRunner().invoke(kafka_reader, ["add", "reports", "--topic", "calls", "--json"], env=environment)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert (made["login"], made["topics"], made["groups"]) == (
        "reader-reports",
        ["calls"],
        ["reader-reports", "reader-reports.*"],
    )
    reader = as_user(own.owner, "cli").model_copy(
        update={"user": made["login"], "password": SecretStr(made["password"])}
    )
    assert messages(reader, CALLS.name) == [b"before the logins"]
    topics = [topic.name for topic in TOPICS]
    with client_of(reader) as client:
        allowed = {attempt: allowed_topics(client, attempt, topics) for attempt in TOPIC_ATTEMPTS}
        assert allowed_with_group(client, "reader-reports.nightly", CALLS.name) == {"describe", "read"}
        assert allowed_with_group(client, "reader-reports-2", CALLS.name) == set()
        assert allowed_with_group(client, "streamco-billing", CALLS.name) == set()
    assert {attempt for attempt, found in allowed.items() if found} == {"read", "ask for offsets"}
    assert set().union(*allowed.values()) == {"calls"}
    assert give_access(own.owner, PASSWORDS) == Changes(0, 0)  # ours are made again, this one stays
    listed = CliRunner().invoke(kafka_reader, ["list", "--json"], env=environment)
    assert json.loads(listed.stdout) == {"readers": [{"login": "reader-reports", "topics": ["calls"]}]}
    assert CliRunner().invoke(kafka_reader, ["remove", "reports"], env=environment).exit_code == 0
    assert is_refused(reader)
    for arguments, said in (
        (["remove", "reports"], "'reports': there is no such reader"),
        (["add", "Reports=", "--topic", "calls"], "reader 'Reports=': must be of the form"),
        (["add", "reports", "--topic", "__consumer_offsets"], "is not one of"),
    ):
        done = CliRunner().invoke(kafka_reader, arguments, env=environment)
        assert done.exit_code != 0
        assert said in done.output


def environment_of_own_users(own: OwnKafka) -> dict[str, str]:
    """The settings of the product whose embedded broker this is."""
    return {
        "STREAMCO_HOME": str(own.settings.directory.parent / "home"),
        "STREAMCO_KAFKA_PORT": str(own.settings.port),
        "STREAMCO_KAFKA_CONTROLLER_PORT": str(own.settings.controller_port),
        "STREAMCO_KAFKA_OWNER_PASSWORD": AWKWARD,
    }
