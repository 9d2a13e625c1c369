"""What the dashboards' process is told at its start. Frozen; made by streamco, which alone reads the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, field_validator

from router.check import CheckSettings
from runtime.connections import ClickHouse, Frozen, Kafka, Postgres

MIN_SECRET_CHARACTERS = 32


class DashboardsSettings(Frozen):
    """Servers to read from, where to listen, and how sessions are kept.

    `secret_key` signs the cookies. `behind_https`: a proxy in front speaks HTTPS and sets X-Forwarded-For and -Proto;
    cookies are then marked Secure. `metrics`: the file for the process's numbers. After `login_free_tries` wrong ones a
    login has to wait (login_limiter.py). With more than one worker each has its own limits. `check`: where snapshots
    are, for check routing; without it nothing can be checked.
    """

    postgres: Postgres
    kafka: Kafka
    clickhouse: ClickHouse
    secret_key: SecretStr
    host: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z.:-]{1,64}$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1025, le=32767)] = 18050
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    threads: Annotated[int, Field(ge=2, le=64)] = 12
    behind_https: bool = False
    metrics: Path | None = None
    session_hours: Annotated[int, Field(ge=1, le=168)] = 12
    login_free_tries: Annotated[int, Field(ge=1, le=100)] = 5
    check: CheckSettings | None = None
    api_requests_per_minute: Annotated[int, Field(ge=1, le=60_000)] = 300

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"must have at least {MIN_SECRET_CHARACTERS} characters")
        return value
