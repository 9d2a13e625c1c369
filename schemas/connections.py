"""Where the servers are: frozen values that every room's settings are made of. Secrets never appear in a repr."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from schemas.topics import DEFAULT_PARTITIONS


class Frozen(BaseModel):
    """Settings are built once, at the top, and never change; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Postgres(Frozen):
    """PostgreSQL: a libpq connection string or URL, password included."""

    dsn: SecretStr


class Kafka(Frozen):
    """Kafka: `host:port[,host:port…]`, and how many partitions every topic has."""

    bootstrap: Annotated[str, StringConstraints(pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")]
    partitions: Annotated[int, Field(ge=1, le=1024)] = DEFAULT_PARTITIONS


class ClickHouse(Frozen):
    """ClickHouse over HTTP: host and port in the URL, user, password and database beside it."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(:\d+)?/?$")]
    user: str = "default"
    password: SecretStr = SecretStr("")
    database: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "streamco"
