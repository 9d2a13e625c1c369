"""Kafka as the embedded stack starts it: what was acknowledged survives, errors say what is wrong."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from pydantic import SecretStr

from runtime.topics import make_topics
from schemas.topics import CALLS
from streamco.embedded.kafka import escaped, kafka_server, login_of
from streamco.embedded.server import ServerError
from streamco.embedded.settings import KafkaServer
from streamco.embedded.temporary import TemporaryServers, free_port, password
from streamco.embedded.temporary_users import as_user, make_users

pytestmark = pytest.mark.servers


@pytest.fixture
def servers() -> Iterator[TemporaryServers]:
    with TemporaryServers() as own:
        yield own


@pytest.fixture
def settings(servers: TemporaryServers) -> KafkaServer:
    """With a path that Java's properties would misread if it were not escaped."""
    directory = servers.directory / "käfka ☎ \\data"
    return KafkaServer(
        directory=directory, port=free_port(), controller_port=free_port(), password=SecretStr(password())
    )


def send(settings: KafkaServer, count: int) -> None:
    agent = as_user(settings.connection(), "agent")  # whose login survives as the messages do
    producer = KafkaProducer(**agent.client(), acks="all")
    sent = [producer.send("calls", b"x" * 100, partition=0) for _ in range(count)]
    for one in sent:
        one.get(10)
    producer.close()


def kept(settings: KafkaServer) -> int:
    consumer = KafkaConsumer(**settings.connection().client())
    partition = TopicPartition("calls", 0)
    end: int = consumer.end_offsets([partition])[partition]
    consumer.close()
    return end


def test_acknowledged_messages_survive_kill_9_stop_and_start(servers: TemporaryServers, settings: KafkaServer) -> None:
    server = kafka_server(settings)
    process = servers.start(server)
    make_topics(settings.connection(), [CALLS])
    make_users(settings.connection())
    for turn in (1, 2):
        send(settings, 500)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = servers.start(server)
        assert kept(settings) == 500 * turn
    servers.stop("kafka")
    moved = settings.model_copy(update={"port": free_port(), "controller_port": free_port()})
    servers.start(kafka_server(moved))
    assert kept(moved) == 1000


def test_it_listens_on_loopback_only_and_keeps_to_its_directory(
    servers: TemporaryServers, settings: KafkaServer
) -> None:
    process = psutil.Process(servers.start(kafka_server(settings)).pid)
    listening = {one.laddr for one in process.net_connections("all") if one.status == psutil.CONN_LISTEN}
    assert {address.port for address in listening} == {settings.port, settings.controller_port}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    written = {Path(file.path) for file in process.open_files() if getattr(file, "mode", "r") != "r"}
    assert written
    assert all(path.is_relative_to(servers.directory) for path in written)


def test_a_busy_port_names_its_holder(settings: KafkaServer) -> None:
    for port, what in ((settings.port, "Kafka"), (settings.controller_port, "Kafka's controller")):
        busy = rf"port {port} for {what} is not free.*process {os.getpid()}"
        with socket.create_server(("127.0.0.1", port)), pytest.raises(ServerError, match=busy):
            kafka_server(settings).prepare(print)


def test_a_server_that_is_away_is_reported(settings: KafkaServer) -> None:
    with pytest.raises(ServerError, match="Kafka does not answer"):
        kafka_server(settings).healthy()


def test_a_directory_that_kafka_would_take_for_two_is_refused(settings: KafkaServer) -> None:
    with pytest.raises(ServerError, match="','"):
        kafka_server(settings.model_copy(update={"directory": Path("/nowhere/a,b")})).prepare(print)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_password_of_any_text_is_read_back_from_the_line(secret: str) -> None:
    """JAAS reads a quoted text until its quote, and a backslash with three octal digits as that character."""
    line = login_of("us-er", secret, {"other": secret})
    quoted = re.findall(r'([\w-]+)="([^"\n\r]*)"', line)
    assert [name for name, _ in quoted] == ["username", "password", "user_us-er", "user_other"]
    read = [re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found[1], 8)), text) for _, text in quoted]
    assert read == ["us-er", secret, secret, secret]


def test_values_are_escaped_for_java() -> None:
    assert escaped("/a\\b/é/☎/😀") == "/a\\\\b/\\u00e9/\\u260e/\\ud83d\\ude00"
