"""Every setting of the product, from STREAMCO_* environment variables: checked whole before anything starts.

Only this room reads the environment. What a room is told is made from here (rooms.py). An unknown STREAMCO_* name is an
error: a misspelt setting that does nothing would be found too late. A secret may be in a file, with its path in
STREAMCO_NAME_FILE. Secrets that are not set are made once (secret_store.py).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from schemas.addresses import IPv4, IPv4Networks, NoOrIPv4, NoOrIPv6
from schemas.agi_digest import read_node_key
from streamco.given_settings import PREFIX, SettingsError, postgres_address, with_files

__all__ = ["PREFIX", "SECRET_SETTINGS", "Settings", "SettingsError", "default_home", "read_settings"]

# Those are the test suite's: which external servers it is given, where it reports to.
_TEST_PREFIXES: Final = ("STREAMCO_TEST_", "STREAMCO_FAULTS_")
_NODE: Final = r"^[a-z][a-z0-9]{0,15}$"

Port = Annotated[int, Field(ge=1025, le=32_767)]
Secret = Annotated[SecretStr, Field(min_length=8)]
NodeName = Annotated[str, Field(pattern=_NODE)]
Nodes = Annotated[tuple[NodeName, ...], Field(max_length=64)]


def default_home() -> Path:
    """$XDG_DATA_HOME/streamco, else ~/.local/share/streamco."""
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "streamco"


class Settings(BaseModel):
    """All of it. Ports are on loopback; those of AMI and HEP count up from their first in the order of `nodes`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    home: Path = Field(default_factory=default_home)

    # Servers that run elsewhere. What is set here is neither started nor stopped.
    postgres_dsn: SecretStr | None = None  # the owner's: who makes tables and roles
    postgres_address: Annotated[str, Field(max_length=2_000)] | None = None  # of that server, without user and password
    kafka_bootstrap: Annotated[str, Field(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")] | None = None
    clickhouse_url: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(:\d+)?/?$")] | None = None
    clickhouse_user: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "streamco"
    clickhouse_database: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "streamco"

    postgres_port: Port = 15432
    kafka_port: Port = 19092
    kafka_controller_port: Port = 19093
    clickhouse_port: Port = 18123
    router_port: Port = 14573
    dashboards_port: Port = 18050
    ami_port: Port = 15038
    sip_port: Port = 15060
    hep_port: Port = 15090
    rtp_port_first: Port = 20000
    rtp_port_last: Port = 29999

    # Where services listen, and from where a node may ask the router. Loopback unless told otherwise.
    router_host: Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:-]{1,64}$")] = "127.0.0.1"
    router_peers: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    sip_host: IPv4 = "127.0.0.1"
    hep_host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"  # noqa: S104 - where the agent is in a network of its own
    sip_host_ipv6: NoOrIPv6 = ""  # none: no transport for IPv6 peers
    # What peers outside the local networks are told where the Asterisk stands behind a NAT.
    external_signaling_address: NoOrIPv4 = ""
    external_media_address: NoOrIPv4 = ""
    local_networks: IPv4Networks = ()
    asterisk_router: Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:-]{1,64}:\d+$")] | None = None  # None: ours, here
    dashboards_host: Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:-]{1,64}$")] = "127.0.0.1"
    dashboards_behind_https: bool = False

    # Router processes of this machine: they share one listening socket and one snapshot.
    router_processes: Annotated[int, Field(ge=1, le=16)] = 1
    kafka_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    # Processes that share the partitions of a role.
    billing_workers: Annotated[int, Field(ge=1, le=8)] = 1
    cdrs_workers: Annotated[int, Field(ge=1, le=8)] = 1
    kafka_heap_megabytes: Annotated[int, Field(ge=128, le=65_536)] = 256
    clickhouse_memory_megabytes: Annotated[int, Field(ge=256, le=1 << 20)] = 2048

    # Nodes: an agent runs for each. Those of `asterisk_nodes` are Asterisks that we start; those of `simulated_nodes`
    # are played by the simulator; any other is an Asterisk of the user's, whose AMI is at `ami_host`.
    nodes: Nodes = ("ast1",)
    asterisk_nodes: Nodes = ()
    simulated_nodes: Nodes = ()
    ami_host: Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:-]{1,64}$")] = "127.0.0.1"
    ami_permit: tuple[str, ...] = ("127.0.0.0/255.0.0.0",)
    ami_user: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "agent"

    # How long a call is taken to be when margins are compared (a minimum or a connect fee weighs more on a short one).
    expected_call_seconds: Annotated[int, Field(ge=1, le=3600)] = 180

    # Quality (ASR, NER, ACD, PDD) that routes are ordered by: that of the legs that ended in so many last seconds.
    quality_window_seconds: Annotated[int, Field(ge=60, le=3600)] = 900

    # Where it is told, by a POST of JSON, what controllers have done; the address may hold a secret.
    control_webhook: Annotated[SecretStr, Field(min_length=8, max_length=2_000)] | None = None

    # With less than that free on a disk that we write to, it counts as nearly full, and new calls are refused.
    disk_reserve_megabytes: Annotated[int, Field(ge=64, le=1 << 30)] = 1024
    audit_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    # A journal's file is rotated at this size (or after a day); posted, it is deleted after so many days.
    journal_megabytes: Annotated[int, Field(ge=1, le=65_536)] = 512
    journal_days: Annotated[int, Field(ge=1, le=3_660)] = 7
    # Ranges of Kafka's topics are sealed and deleted so many days after their legs were settled.
    topic_days: Annotated[int, Field(ge=1, le=3_660)] = 7
    # With so many open dead letters of one peer its new calls are refused, and its further letters wait in their topic.
    peer_dead_letters: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    simulator_cps: Annotated[float, Field(gt=0, le=5_000)] = 60.0
    simulator_seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 1
    simulator_talk_seconds: Annotated[float, Field(ge=1, le=3_600)] = 35.0
    simulator_incidents: tuple[str, ...] = ()
    trickle_cps: Annotated[float, Field(ge=0, le=10)] = 0.0  # real SIP calls a second, from SIPp; 0 is none

    postgres_password: Secret | None = None  # of the embedded cluster's superuser, which makes the owner and the roles
    postgres_owner_password: Secret | None = None
    postgres_router_password: Secret | None = None
    postgres_agent_password: Secret | None = None
    postgres_streams_password: Secret | None = None
    postgres_auditor_password: Secret | None = None
    postgres_dashboards_password: Secret | None = None
    postgres_cli_password: Secret | None = None
    postgres_asterisk_password: Secret | None = None
    postgres_simulator_password: Secret | None = None
    lookup_tokens: dict[str, SecretStr] = Field(default_factory=dict)  # JSON: bearer tokens of look-ups, by their names
    clickhouse_password: Secret | None = None
    ami_secret: Secret | None = None
    # What nodes' keys are made of, by which routers know their sessions; the one before it, as UNTIL:SECRET (unix
    # seconds); and a node's own key, which is all that a machine needs that runs nothing but its Asterisk.
    agi_secret: Secret | None = None
    agi_previous: Annotated[SecretStr, Field(max_length=1_000)] | None = None
    agi_node_key: SecretStr | None = None
    dashboards_secret_key: Annotated[SecretStr, Field(min_length=32)] | None = None

    @field_validator(
        "nodes", "asterisk_nodes", "simulated_nodes", "simulator_incidents", "router_peers", "ami_permit",
        "local_networks", mode="before",
    )  # fmt: skip
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("lookup_tokens", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("control_webhook")
    @classmethod
    def _web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must be an http or https address")
        return value

    @field_validator("agi_previous")
    @classmethod
    def _until_and_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            until, _, secret = value.get_secret_value().partition(":")
            if not (until.isascii() and until.isdigit() and len(until) <= 10 and len(secret) >= 8):
                raise ValueError("must be of the form UNTIL:SECRET, with unix seconds")
        return value

    @field_validator("agi_node_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_node_key(value.get_secret_value())
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("must be an absolute path")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"{PREFIX}NODES {','.join(self.nodes)!r}: must be different names")
        for name, nodes in (("ASTERISK_NODES", self.asterisk_nodes), ("SIMULATED_NODES", self.simulated_nodes)):
            if unknown := [node for node in nodes if node not in self.nodes]:
                raise ValueError(
                    f"{PREFIX}{name} {unknown[0]!r}: must be one of {PREFIX}NODES ({','.join(self.nodes)})"
                )
        if len(self.asterisk_nodes) > 1:
            raise ValueError(f"{PREFIX}ASTERISK_NODES {self.asterisk_nodes}: one machine runs one Asterisk")
        if both := set(self.asterisk_nodes) & set(self.simulated_nodes):
            raise ValueError(f"{PREFIX}SIMULATED_NODES {min(both)!r}: must not be in {PREFIX}ASTERISK_NODES too")
        if self.ami_port + len(self.nodes) - 1 > 32_767:
            raise ValueError(f"{PREFIX}AMI_PORT {self.ami_port}: must leave room below 32768 for every node")
        if self.hep_port + len(self.nodes) - 1 > 32_767:
            raise ValueError(f"{PREFIX}HEP_PORT {self.hep_port}: must leave room below 32768 for every node")
        for name, workers in (("BILLING_WORKERS", self.billing_workers), ("CDRS_WORKERS", self.cdrs_workers)):
            if workers > self.kafka_partitions:
                raise ValueError(
                    f"{PREFIX}{name} {workers}: must be at most {PREFIX}KAFKA_PARTITIONS ({self.kafka_partitions})"
                )
        if bool(self.local_networks) != bool(self.external_signaling_address or self.external_media_address):
            raise ValueError(
                f"{PREFIX}LOCAL_NETWORKS {','.join(self.local_networks)!r}: must be given with"
                f" {PREFIX}EXTERNAL_SIGNALING_ADDRESS or {PREFIX}EXTERNAL_MEDIA_ADDRESS, and only then"
            )
        self._different_ports()
        return self

    def _different_ports(self) -> None:
        used: dict[int, str] = {}
        for name, port in self.ports().items():
            if port in used:
                raise ValueError(f"{name} {port}: must not be the port of {used[port]}")
            used[port] = name
        for name, port in self.udp_ports().items():
            if self.asterisk_nodes and self.rtp_port_first <= port <= self.rtp_port_last:
                rtp = f"{self.rtp_port_first} to {self.rtp_port_last}"
                raise ValueError(f"{name} {port}: must not be one of the RTP ports ({rtp})")

    @property
    def postgres_elsewhere(self) -> bool:
        """Is PostgreSQL one of the user's?"""
        return self.postgres_dsn is not None or self.postgres_address is not None

    def ami_port_of(self, node: str) -> int:
        """The AMI port of a node on this machine."""
        return self.ami_port + self.nodes.index(node)

    def hep_port_of(self, node: str) -> int:
        """Where a node's agent takes copies of SIP messages; 0 of a simulated node, which sends none."""
        return 0 if node in self.simulated_nodes else self.hep_port + self.nodes.index(node)

    def ports(self) -> dict[str, int]:
        """The loopback ports that we listen on, by the setting that says so."""
        ports = {f"{PREFIX}ROUTER_PORT": self.router_port, f"{PREFIX}DASHBOARDS_PORT": self.dashboards_port}
        if not self.postgres_elsewhere:
            ports[f"{PREFIX}POSTGRES_PORT"] = self.postgres_port
        if self.kafka_bootstrap is None:
            ports[f"{PREFIX}KAFKA_PORT"] = self.kafka_port
            ports[f"{PREFIX}KAFKA_CONTROLLER_PORT"] = self.kafka_controller_port
        if self.clickhouse_url is None:
            ports[f"{PREFIX}CLICKHOUSE_PORT"] = self.clickhouse_port
        for node in (*self.asterisk_nodes, *self.simulated_nodes):
            ports[f"{PREFIX}AMI_PORT (of node {node})"] = self.ami_port_of(node)
        return ports | self.udp_ports()

    def udp_ports(self) -> dict[str, int]:
        """Those of `ports` that are UDP's."""
        ports = {
            f"{PREFIX}HEP_PORT (of node {node})": self.hep_port_of(node)
            for node in self.nodes
            if node not in self.simulated_nodes
        }
        return ports | ({f"{PREFIX}SIP_PORT": self.sip_port} if self.asterisk_nodes else {})


def _mentions_secrets(annotation: Any) -> bool:
    return annotation is SecretStr or any(_mentions_secrets(part) for part in get_args(annotation))


# By their type. No process but those that need one is given it (secret_store.py), and never by its environment.
SECRET_SETTINGS: Final = frozenset(
    name for name, field in Settings.model_fields.items() if _mentions_secrets(field.annotation)
)


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings of an environment (this process's unless given). `overrides` win. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    known = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    given = with_files({name: value for name, value in environment.items() if name.startswith(PREFIX)}, SECRET_SETTINGS)
    unknown = [name for name in given if name not in known and not name.startswith(_TEST_PREFIXES)]
    if unknown:
        raise SettingsError("\n".join(f"{name}: there is no such setting" for name in sorted(unknown)))
    values = {known[name]: value for name, value in given.items() if name in known and value != ""}
    try:
        settings = Settings(**{**values, **overrides})
    except ValidationError as error:
        raise SettingsError("\n".join(_message(values | overrides, one) for one in error.errors())) from error
    if not settings.postgres_elsewhere:
        return settings
    dsn = settings.postgres_dsn.get_secret_value() if settings.postgres_dsn is not None else ""
    return settings.model_copy(update={"postgres_address": postgres_address(settings.postgres_address, dsn)})


def _message(values: Mapping[str, Any], error: Any) -> str:
    rule = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(rule)
    name = str(error["loc"][0])
    if error["type"] == "string_pattern_mismatch":
        rule = f"must be of the form {error['ctx']['pattern']}"
    shown = "" if name in SECRET_SETTINGS else f" {str(values.get(name))[:100]!r}"
    return f"{PREFIX}{name.upper()}{shown}: {rule}"
