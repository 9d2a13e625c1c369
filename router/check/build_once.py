"""Builds the snapshot of one moment and ends: `python -m router.check.build_once AT_MS`, settings as JSON on stdin."""

import sys

import msgspec
import psycopg

from router.build.builder import Builder
from router.settings import SnapshotSettings
from router.snapshot.errors import SnapshotError
from runtime.connections import Postgres


def main(at_ms: int) -> None:
    """Entry of the process: its last line on stderr says why it could not build."""
    values = msgspec.json.decode(sys.stdin.read())
    settings = SnapshotSettings(postgres=Postgres(dsn=values.pop("dsn")), **values)
    try:
        with psycopg.connect(
            settings.postgres.dsn.get_secret_value(), autocommit=True, connect_timeout=5
        ) as connection:
            Builder(settings, lambda: at_ms).step(connection)
    except (SnapshotError, psycopg.Error, OSError) as error:
        sys.exit(str(error).strip().splitlines()[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
