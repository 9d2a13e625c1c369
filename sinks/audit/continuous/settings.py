"""What the auditor is told. Built once by the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from runtime.connections import ClickHouse, Frozen, Kafka, Postgres


class AuditorSettings(Frozen):
    """Times in seconds; every one of them is a bound.

    `settle_seconds`: what is still missing on a side after so long is a difference. `cdr_seconds`: a leg is looked for
    among the CDRs so long after it was rated. `young_seconds`: for so long after its admission a call need not be on
    its node's heartbeat; `silent_seconds`: a node that was last heard before that is silent, and its calls are not
    verified. `most_messages`: of rated legs that one run reads; the rest is the next's. `topic_seconds`: how long
    topics keep what is settled.
    """

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    beat: Path | None = None
    every_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    settle_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    cdr_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    young_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    silent_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    most_messages: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    most_waiting: Annotated[int, Field(ge=1, le=10_000_000)] = 500_000
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    topic_seconds: Annotated[float, Field(ge=0)] = 7 * 86_400.0
    keep_runs_days: Annotated[int, Field(ge=1, le=3650)] = 90
