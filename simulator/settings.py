"""The simulator's settings: which nodes it plays, how many calls, how fast, and what goes wrong meanwhile."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from runtime.connections import Frozen, Postgres
from schemas.agi_digest import read_node_key
from simulator.incidents import Incident, IncidentError, parse_incident

Port = Annotated[int, Field(ge=1, le=65_535)]


class SimulatedNode(Frozen):
    """One fake Asterisk node: its name, the port of its AMI, its directory (journal/Master.csv, epoch), and its key, by
    which the router knows its sessions (schemas/agi_digest.py).
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}$")]
    ami_port: Port
    directory: Path
    agi_key: SecretStr

    @field_validator("agi_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        read_node_key(value.get_secret_value())
        return value


class SimulatorSettings(Frozen):
    """`cps` is the rate of new calls over all nodes, on the simulator's own clock; `seconds` of traffic, likewise.

    `speedup` above 1 back-fills: the clock starts `seconds × (1 − 1/speedup)` ago, runs that much faster, and ends at
    the present; it never passes it. `incidents` are texts as `vendor-down@30s` (simulator/incidents.py).
    """

    postgres: Postgres
    nodes: Annotated[tuple[SimulatedNode, ...], Field(min_length=1, max_length=64)]
    router_host: str = "127.0.0.1"
    router_port: Port = 14573
    ami_host: str = "127.0.0.1"
    ami_user: str = "agent"
    ami_secret: SecretStr
    cps: Annotated[float, Field(gt=0, le=5_000)] = 60.0
    seconds: Annotated[float, Field(gt=0, le=400 * 86_400)] | None = None  # None: until SIGTERM
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 1
    speedup: Annotated[float, Field(ge=1, le=100_000)] = 1.0
    incidents: tuple[Incident, ...] = ()
    # flat: `cps` all day, shared by the customers' hours. daily: `cps` is the busiest hour's rate.
    profile: Literal["flat", "daily"] = "flat"
    talk_seconds: Annotated[float, Field(ge=1, le=3_600)] = 35.0  # mean of an answered call
    max_calls: Annotated[int, Field(ge=1, le=200_000)] = 20_000  # in progress; above it no call is placed
    max_agi_sessions: Annotated[int, Field(ge=1, le=10_000)] = 256
    agi_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0  # a router that says nothing so long is no router
    beat: Path | None = None

    @field_validator("incidents", mode="before")
    @classmethod
    def _parse_incidents(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError(f"incidents {value!r}: must be a list of texts")
        try:
            return tuple(parse_incident(item) if isinstance(item, str) else item for item in value)
        except IncidentError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.speedup > 1 and self.seconds is None:
            raise ValueError(f"speedup {self.speedup:g}: needs seconds, so that the clock knows where to start")
        for what, values in (
            ("names", [node.name for node in self.nodes]),
            ("ami_ports", [node.ami_port for node in self.nodes]),
            ("directories", [node.directory for node in self.nodes]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"nodes: {what} {values} must be different")
        return self
