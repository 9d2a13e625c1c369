"""Where the servers are: frozen values that every room's settings are made of. Secrets never appear in a repr."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from schemas.topics import DEFAULT_PARTITIONS


class Frozen(BaseModel):
    """Settings are built once, at the top, and never change; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Postgres(Frozen):
    """PostgreSQL: a libpq connection string or URL, password included."""

    dsn: SecretStr


SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
KafkaUser = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]  # as it is, within SCRAM and an ACL


class Kafka(Frozen):
    """Kafka: `host:port[,host:port…]`, how many partitions every topic has, and whom a client logs in as.

    Without `mechanism` nobody logs in. `tls`: the broker's certificate is checked against `ca_file`, or against the
    certificate authorities of the machine.
    """

    bootstrap: Annotated[str, StringConstraints(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")]
    partitions: Annotated[int, Field(ge=1, le=1024)] = DEFAULT_PARTITIONS
    mechanism: SaslMechanism | None = None
    user: KafkaUser | None = None
    password: SecretStr | None = None
    tls: bool = False
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if len({self.mechanism is None, self.user is None, self.password is None}) > 1:
            raise ValueError("mechanism, user and password: must be given together")
        return self

    def client(self) -> dict[str, Any]:
        """The arguments of each client of kafka-python: where the broker is, and as whom. They hold the password."""
        arguments: dict[str, Any] = {"bootstrap_servers": self.bootstrap.split(",")}
        transport = "SSL" if self.tls else "PLAINTEXT"
        arguments["security_protocol"] = transport if self.mechanism is None else f"SASL_{transport}"
        if self.tls and self.ca_file is not None:
            arguments["ssl_cafile"] = str(self.ca_file)
        if self.mechanism is not None and self.user is not None and self.password is not None:
            arguments["sasl_mechanism"] = self.mechanism
            arguments["sasl_plain_username"] = self.user
            arguments["sasl_plain_password"] = self.password.get_secret_value()
        return arguments


class ClickHouse(Frozen):
    """ClickHouse over HTTP: host and port in the URL, user, password and database beside it.

    `run_by`: the user of this machine whose process it has to be before it is told the password; None: anybody's.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(:\d+)?/?$")]
    user: str = "default"
    password: SecretStr = SecretStr("")
    database: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "streamco"
    run_by: Annotated[int, Field(ge=0)] | None = None
