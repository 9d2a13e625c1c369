"""What a stream worker is told. Built once by the command line."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from runtime.connections import ClickHouse, Frozen, Kafka, Postgres

Role = Literal["billing", "cdrs", "live", "quality", "control"]


class StreamsSettings(Frozen):
    """One worker of one role. `instance` tells workers of the same role apart and is kept over restarts.

    `data_directory` is for what Faust keeps (nothing of value: tables are rebuilt from their changelogs).
    `max_dead_letters`: with so many open in the table that belong to no peer, of all workers, a worker stops, loudly,
    rather than refuse more. `max_peer_letters`: with so many open of one peer its new calls are refused, and its
    further letters wait in their topic.
    `insert_seconds`: a leg waits at most so long for others to share its insert into ClickHouse.
    `send_seconds`: what Kafka has not acknowledged by then ends the worker.
    `standstill_seconds`: a worker with a partition that has messages and no progress for so long ends itself.
    `quality_window_seconds`: quality is that of the legs that ended in so many last seconds.
    `postgres`: of every role but quality; `clickhouse`: of cdrs alone.
    `control_webhook`: where it is told what controllers have done; it may hold a secret.
    `asleep_seconds`: a worker that finds that it did not run for so long ends itself: others have its partitions.
    """

    role: Role
    instance: Annotated[int, Field(ge=0, le=999)] = 0
    kafka: Kafka
    postgres: Postgres | None = None
    clickhouse: ClickHouse | None = None
    data_directory: Path
    beat: Path | None = None
    max_dead_letters: Annotated[int, Field(ge=1)] = 10_000
    max_peer_letters: Annotated[int, Field(ge=1)] = 1_000
    batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 500
    batch_seconds: Annotated[float, Field(gt=0, le=5)] = 0.2
    insert_seconds: Annotated[float, Field(gt=0, le=1)] = 0.8
    send_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    standstill_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    control_webhook: SecretStr | None = None
    quality_window_seconds: Annotated[int, Field(ge=60, le=3600)] = 900
    asleep_seconds: Annotated[float, Field(gt=0, le=3600)] = 6.0

    @model_validator(mode="after")
    def _has_its_stores(self) -> Self:
        if self.postgres is None and self.role != "quality":
            raise ValueError(f"postgres: must be given to a worker of the role {self.role}")
        if self.clickhouse is None and self.role == "cdrs":
            raise ValueError("clickhouse: must be given to a worker of the role cdrs")
        return self

    @property
    def dsn(self) -> str:
        """How PostgreSQL is reached; of a role that has it."""
        assert self.postgres is not None  # noqa: S101 (for the type checker: it is checked above)
        return self.postgres.dsn.get_secret_value()
