"""Kafka's settings: the embedded broker, or how one of the user's is reached and as whom."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from runtime.connections import KafkaUser, SaslMechanism
from streamco.setting_types import PREFIX, Port, Secret


class KafkaSettings(BaseModel):
    """The part of Settings that is about Kafka."""

    # One that runs elsewhere. TLS, and the login: without `kafka_user` each kind of process has a user of its own there
    # too, as with the embedded one (schemas/kafka_access.py).
    kafka_bootstrap: Annotated[str, Field(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")] | None = None
    kafka_tls: bool = False
    kafka_ca_file: Path | None = None  # None: the machine's certificate authorities
    kafka_mechanism: SaslMechanism | None = None
    kafka_user: KafkaUser | None = None
    kafka_password: Secret | None = None

    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    kafka_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    kafka_heap_megabytes: Annotated[int, Field(ge=128, le=65_536)] = 256

    # Of the owner, who makes topics and users, and of each kind of process.
    kafka_owner_password: Secret | None = None
    kafka_router_password: Secret | None = None
    kafka_agent_password: Secret | None = None
    kafka_billing_password: Secret | None = None
    kafka_cdrs_password: Secret | None = None
    kafka_live_password: Secret | None = None
    kafka_quality_password: Secret | None = None
    kafka_control_password: Secret | None = None
    kafka_auditor_password: Secret | None = None
    kafka_dashboards_password: Secret | None = None
    kafka_cli_password: Secret | None = None

    @property
    def kafka_has_our_users(self) -> bool:
        """Whether each kind of process is a user of its own: with the embedded broker, and with another one that is
        given a mechanism but no user."""
        return self.kafka_user is None and (self.kafka_bootstrap is None or self.kafka_mechanism is not None)

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        for name in ("kafka_tls", "kafka_ca_file", "kafka_mechanism", "kafka_user", "kafka_password"):
            if getattr(self, name) and self.kafka_bootstrap is None:
                raise ValueError(f"{PREFIX}{name.upper()}: must be set only with {PREFIX}KAFKA_BOOTSTRAP")
        if self.kafka_ca_file is not None and not (self.kafka_tls and self.kafka_ca_file.is_absolute()):
            raise ValueError(
                f"{PREFIX}KAFKA_CA_FILE {str(self.kafka_ca_file)!r}: must be an absolute path, with {PREFIX}KAFKA_TLS"
            )
        # That the user has a password is asked where it is used: not every process is given it.
        if self.kafka_password is not None and self.kafka_user is None:
            raise ValueError(f"{PREFIX}KAFKA_USER: must be set with {PREFIX}KAFKA_PASSWORD")
        if self.kafka_user is not None and self.kafka_mechanism is None:
            raise ValueError(f"{PREFIX}KAFKA_MECHANISM: must be set with {PREFIX}KAFKA_USER")
        return self
