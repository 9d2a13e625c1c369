"""What the router is told. Built once by the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from runtime.connections import Frozen, Kafka, Postgres
from runtime.disk import DEFAULT_RESERVE_BYTES


class SnapshotSettings(Frozen):
    """The builder of snapshots: where it reads, where it publishes, and the call length that costs are compared at."""

    postgres: Postgres
    directory: Path
    expected_call_seconds: Annotated[int, Field(ge=1, le=3600)] = 180
    debounce_seconds: Annotated[float, Field(ge=0, le=10)] = 0.2


class RouterSettings(Frozen):
    """The AGI server. Times in seconds; every one of them is a bound.

    `peers_allowed`: addresses or networks that may open a session; nothing else is answered.
    `spool_limit`: decisions that may wait for Kafka; beyond it the oldest are dropped, and counted loudly: a decision
    explains a call, it never bills it.
    `listener`: the file descriptor of a listening socket that several router processes of this machine share, given by
    whoever starts them; without it the process listens at `host` and `port` itself.
    `most_lag_seconds`, `most_wait_seconds`: when the event loop is later than that, or the first call that waits for
    PostgreSQL has waited longer, new calls are refused at once (overload.py says when exactly).
    `disk_reserve_bytes`: with less than that free on the spool's disk, new calls are refused.
    `agi_secret`: what the nodes' keys are made of (schemas/agi_digest.py); `agi_previous_secret` counts, too, until
    `agi_previous_until` (unix seconds), while nodes are given their new keys.
    `sessions`: the file in which all router processes of this machine remember the sessions that have been; None: in
    this process's memory.
    """

    snapshot: SnapshotSettings
    kafka: Kafka
    agi_secret: Annotated[SecretStr, Field(min_length=8)]
    agi_previous_secret: Annotated[SecretStr, Field(min_length=8)] | None = None
    agi_previous_until: Annotated[int, Field(ge=0)] = 0
    sessions: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 14573
    listener: Annotated[int, Field(ge=3)] | None = None
    peers_allowed: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    beat: Path | None = None
    spool: Path
    spool_limit: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    disk_reserve_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 50)] = DEFAULT_RESERVE_BYTES
    deadline_seconds: Annotated[float, Field(gt=0, le=30)] = 2.0
    header_seconds: Annotated[float, Field(gt=0, le=30)] = 2.0
    max_header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 16_384
    max_sessions: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    most_lag_seconds: Annotated[float, Field(gt=0, le=1)] = 0.02
    most_wait_seconds: Annotated[float, Field(gt=0, le=1)] = 0.2
    admission_seconds: Annotated[float, Field(gt=0, le=10)] = 1.0
    admission_connections: Annotated[int, Field(ge=1, le=64)] = 8
    hold_seconds: Annotated[int, Field(ge=1, le=3600)] = 60  # of talk that a quantum pays for
    hold_grace_seconds: Annotated[int, Field(ge=60, le=86_400)] = 900  # a hold expires so long after the longest call
    lookup_tokens: Annotated[
        dict[str, SecretStr], Field(default_factory=dict)
    ]  # bearer tokens of look-ups, by their names
    admission: bool = True  # off only to measure: then nothing is held and no limit is kept
    system_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] = "router"

    def agi_secrets(self, now: float) -> tuple[str, ...]:
        """The secrets that count at `now` (unix seconds)."""
        previous = self.agi_previous_secret
        if previous is None or now >= self.agi_previous_until:
            return (self.agi_secret.get_secret_value(),)
        return self.agi_secret.get_secret_value(), previous.get_secret_value()
