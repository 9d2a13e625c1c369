"""What the embedded servers are told: directories, loopback ports, passwords. Built once by the command line."""

import os
import secrets
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from runtime.connections import ClickHouse, Frozen, Kafka, Postgres
from schemas.kafka_access import OWNER, user_of
from schemas.topics import DEFAULT_PARTITIONS
from streamco.home import home_user

LOOPBACK: Final = "127.0.0.1"
DATABASE: Final = "streamco"  # of the embedded PostgreSQL
# Whoever takes its port while it is started again could ask for the password itself, and libpq would send it.
ONLY_SCRAM: Final = "require_auth=scram-sha-256"


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def user_cache_directory() -> Path:
    """Where what is fetched once per user is kept: $XDG_CACHE_HOME/streamco, else ~/.cache/streamco."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "streamco"


Port = Annotated[int, Field(ge=1025, le=32767)]
Directory = Annotated[Path, AfterValidator(_absolute)]
Secret = Annotated[SecretStr, Field(min_length=8)]


class PostgresServer(Frozen):
    """PostgreSQL on loopback: `directory` is ours alone; the superuser's password is set when the cluster is made."""

    directory: Directory
    port: Port = 15432
    password: Secret

    @property
    def connection(self) -> Postgres:
        """How its superuser reaches it. The password is any text, so it is quoted for the URL."""
        password = quote(self.password.get_secret_value(), safe="")
        address = f"{LOOPBACK}:{self.port}/{DATABASE}"
        return Postgres(dsn=SecretStr(f"postgresql://streamco:{password}@{address}?{ONLY_SCRAM}"))


class KafkaServer(Frozen):
    """A single-node KRaft broker on loopback. `password` is its owner's, who may do everything (other users are made by
    runtime/kafka_access.py). `cache` is the user's: the jars are fetched there once."""

    directory: Directory
    password: Secret
    port: Port = 19092
    controller_port: Port = 19093
    cache: Directory = Field(default_factory=lambda: user_cache_directory() / "kafka")
    java: Path | None = None
    heap_megabytes: Annotated[int, Field(ge=128, le=65536)] = 256

    def connection(self, partitions: int = DEFAULT_PARTITIONS) -> Kafka:
        """How its owner reaches it."""
        return Kafka(
            bootstrap=f"{LOOPBACK}:{self.port}",
            partitions=partitions,
            mechanism="PLAIN",  # the broker has its owner's login in its own file, before it has any user
            user=user_of(OWNER),
            password=self.password,
        )


class ClickHouseServer(Frozen):
    """ClickHouse's engine behind its HTTP interface on loopback.

    `user` is the login of our processes that write, `reader_user` of those that only read. People's are in the file
    analysts.json of `directory`, and read `database` alone.

    Limits: `memory_bytes` of the engine, `max_body_bytes` of one request as sent and again when decompressed,
    `max_queries` at once (a further one waits, then is refused), sessions by number and by idle seconds.
    """

    directory: Directory
    port: Port = 18123
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "streamco"
    password: Secret
    reader_user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "streamco_reader"
    reader_password: Secret = Field(default_factory=lambda: SecretStr(secrets.token_urlsafe(32)))
    database: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "streamco"
    memory_bytes: Annotated[int, Field(ge=256 << 20)] = 2 << 30
    max_body_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20
    max_queries: Annotated[int, Field(ge=1, le=256)] = 16
    max_sessions: Annotated[int, Field(ge=1, le=4096)] = 64
    session_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    beat: Path | None = None

    @property
    def connection(self) -> ClickHouse:
        """How a client that writes reaches it."""
        return ClickHouse(
            url=f"http://{LOOPBACK}:{self.port}",
            user=self.user,
            password=self.password,
            run_by=home_user(self.directory),
        )

    @property
    def reading(self) -> ClickHouse:
        """How a client that only reads reaches it."""
        return ClickHouse(
            url=f"http://{LOOPBACK}:{self.port}",
            user=self.reader_user,
            password=self.reader_password,
            database=self.database,
            run_by=home_user(self.directory),
        )
