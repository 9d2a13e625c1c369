"""A Kafka broker of a test's own: begun without logins as it was once, taken over with them, one listener with TLS."""

import dataclasses
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from made_legs import produce
from pydantic import SecretStr

from runtime.connections import Kafka
from runtime.topics import TopicError, make_topics
from schemas.topics import CALLS
from streamco.embedded.kafka import kafka_server
from streamco.embedded.server import Progress, Server, ServerError
from streamco.embedded.settings import KafkaServer
from streamco.embedded.temporary import TemporaryServers, free_port
from streamco.embedded.temporary_users import as_user, make_users

BEFORE: Final = Path(__file__).parents[1] / "servers" / "kafka-without-logins.properties"
AWKWARD: Final = 'quo"te back\\slash ; é ☎ = # end'
TLS: Final = """
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},TLS://127.0.0.1:{tls}
advertised.listeners=CLIENT://127.0.0.1:{port},TLS://127.0.0.1:{tls}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,TLS:SASL_SSL
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.tls.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.key={key}
listener.name.tls.ssl.keystore.certificate.chain={certificate}
"""


class OwnKafka(NamedTuple):
    """A broker of this file's, begun without logins and taken over with them, and one of its listeners with TLS."""

    settings: KafkaServer
    process: psutil.Process
    log: Path
    tls_port: int
    certificate: Path

    @property
    def owner(self) -> Kafka:
        return self.settings.connection()

    def over_tls(self, who: str) -> Kafka:
        changes = {"bootstrap": f"127.0.0.1:{self.tls_port}", "tls": True, "ca_file": self.certificate}
        return as_user(self.owner, who).model_copy(update=changes)


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Key and certificate of 127.0.0.1, signed by itself."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


def without_logins(settings: KafkaServer) -> Server:
    """The broker as it was before it had logins, on the same data."""
    server = kafka_server(settings)
    kafka = Kafka(bootstrap=f"127.0.0.1:{settings.port}")

    def prepare(progress: Progress) -> None:
        server.prepare(progress)
        values = {
            "PORT": settings.port,
            "CONTROLLER_PORT": settings.controller_port,
            "DATA": settings.directory / "data",
        }
        text = BEFORE.read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        (settings.directory / "server.properties").write_text(text)

    def healthy() -> None:
        try:
            make_topics(kafka)
        except TopicError as error:
            raise ServerError(str(error)) from error

    return dataclasses.replace(server, prepare=prepare, healthy=healthy)


def with_tls(settings: KafkaServer, tls_port: int, key: Path, certificate: Path) -> Server:
    """The broker as it is, and a further listener."""
    server = kafka_server(settings)

    def prepare(progress: Progress) -> None:
        server.prepare(progress)
        with (settings.directory / "server.properties").open("a") as file:
            file.write(
                TLS.format(
                    port=settings.port, controller=settings.controller_port, tls=tls_port,
                    key=key.read_text().replace("\n", "\\n"), certificate=certificate.read_text().replace("\n", "\\n"),
                )
            )  # fmt: skip

    return dataclasses.replace(server, prepare=prepare)


def start_own(servers: TemporaryServers) -> OwnKafka:
    """Started twice: what the first one was sent, the second one has."""
    key, certificate = make_certificate(servers.directory, "broker")
    settings = KafkaServer(
        directory=servers.directory / "kafka",
        port=free_port(),
        controller_port=free_port(),
        password=SecretStr(AWKWARD),
    )
    servers.start(without_logins(settings))
    produce(Kafka(bootstrap=f"127.0.0.1:{settings.port}"), CALLS, [(0, b"before the logins")])
    servers.stop("kafka")
    tls_port = free_port()
    process = servers.start(with_tls(settings, tls_port, key, certificate))
    make_users(settings.connection())
    return OwnKafka(settings, psutil.Process(process.pid), servers.directory / "kafka.log", tls_port, certificate)
