"""What a stream worker is told. Built once by the command line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from schemas.connections import ClickHouse, Frozen, Kafka, Postgres

Role = Literal["billing", "cdrs", "live"]


class StreamsSettings(Frozen):
    """One worker of one role. `instance` tells workers of the same role apart and is kept over restarts.

    `data_directory` is for what Faust keeps (nothing of value: tables are rebuilt from their changelogs).
    `max_dead_letters`: a worker that has made so many since its start stops, loudly, rather than go on refusing.
    """

    role: Role
    instance: Annotated[int, Field(ge=0, le=999)] = 0
    kafka: Kafka
    postgres: Postgres
    clickhouse: ClickHouse
    data_directory: Path
    beat: Path | None = None
    max_dead_letters: Annotated[int, Field(ge=1)] = 10_000
    batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 500
    batch_seconds: Annotated[float, Field(gt=0, le=5)] = 0.2
