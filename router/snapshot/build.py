"""The builder: a process of its own that turns the configuration in PostgreSQL into snapshots, so that no call waits.

Started by the router as `python -m router.snapshot.build`, settings as JSON on its standard input. It builds when
NOTIFY announces a new generation and when a future price comes into force. PostgreSQL away: it tries again; the routers
go on with the snapshot that they have. A configuration that cannot be built leaves the last good one live.
"""

import sys
import time
from typing import Any, Final

import msgspec
import psycopg
import structlog

from router.settings import SnapshotSettings
from router.snapshot import store
from router.snapshot.config import Config
from router.snapshot.pools import write_pools
from router.snapshot.prices import Deck, SnapshotError, deck_arrays, in_force, vendor_arrays
from router.snapshot.reader import read_config, read_deck
from schemas.connections import Postgres
from sinks.parent import end_with_parent

log = structlog.get_logger(__name__)
CHANNEL: Final = "streamco_configuration"
LOOK_SECONDS: Final = 15.0  # a generation whose NOTIFY was missed is found after this
_RETRY_SECONDS: Final = 1.0


def build(connection: psycopg.Connection[Any], settings: SnapshotSettings, now_ms: int) -> Config:
    """Read all in one transaction, write a snapshot, make it the newest. Raises SnapshotError, psycopg.Error."""
    cache = settings.directory / "decks"
    cache.mkdir(parents=True, exist_ok=True)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        config = read_config(connection, now_ms)
        rows = {deck_id: read_deck(connection, deck_id, version, cache) for deck_id, version in config.decks}
        write_pools(connection, settings.directory, config.numbers.pools)
    changes: list[int] = []

    def deck(deck_id: int, *, allow_free: bool) -> Deck:
        prices, next_ms = in_force(rows[deck_id], now_ms, allow_free=allow_free)
        if next_ms is not None:
            changes.append(next_ms)
        return prices

    vendors = [peer for peer in config.peers if not peer.originator]
    matrix = vendor_arrays(
        [deck(peer.deck_id, allow_free=peer.pack.allow_free_codes) for peer in vendors],
        [peer.pack for peer in vendors],
        settings.expected_call_seconds,
    )
    # A customer's free codes are judged at the decision, by the pack of the peer that calls.
    sold = sorted({peer.deck_id for peer in config.peers if peer.originator})
    decks = {deck_id: deck_arrays(deck(deck_id, allow_free=True)) for deck_id in sold}
    config = msgspec.structs.replace(config, next_change_at_ms=min(changes, default=None))
    store.write(settings.directory, f"g{config.generation:012d}-{now_ms}", config, matrix, decks)
    return config


def run(settings: SnapshotSettings) -> None:
    """Build for ever, until the process is ended."""
    built: Config | None = None
    while True:
        try:
            with psycopg.connect(
                settings.postgres.dsn.get_secret_value(),
                autocommit=True,
                connect_timeout=5,
                application_name="snapshot",
            ) as connection:
                connection.execute(f"LISTEN {CHANNEL}".encode())
                while True:
                    built = _build_if_changed(connection, settings, built)
                    # A large change makes hundreds of notifications in one packet, whatever stop_after says: one pause.
                    if list(connection.notifies(timeout=_wait_seconds(built), stop_after=1)):
                        time.sleep(settings.debounce_seconds)
        except psycopg.OperationalError as error:
            log.warning("PostgreSQL away: the last snapshot stays", error=str(error))
            time.sleep(_RETRY_SECONDS)
        except (SnapshotError, psycopg.DatabaseError) as error:
            log.error("configuration cannot be built: the last good snapshot stays", error=str(error))  # noqa: TRY400
            time.sleep(_RETRY_SECONDS)


def _build_if_changed(connection: psycopg.Connection[Any], settings: SnapshotSettings, built: Config | None) -> Config:
    row = connection.execute("SELECT generation FROM configuration_generation").fetchone()
    now_ms = time.time_ns() // 1_000_000
    due = built is not None and built.next_change_at_ms is not None and now_ms >= built.next_change_at_ms
    if built is not None and not due and row is not None and row[0] == built.generation:
        return built
    started = time.perf_counter()
    config = build(connection, settings, now_ms)
    log.info(
        "snapshot built",
        generation=config.generation,
        seconds=round(time.perf_counter() - started, 3),
        peers=len(config.peers),
        decks=len(config.decks),
    )
    return config


def _wait_seconds(built: Config) -> float:
    if built.next_change_at_ms is None:
        return LOOK_SECONDS
    return max(0.01, min(LOOK_SECONDS, built.next_change_at_ms / 1000 - time.time()))


def settings_text(settings: SnapshotSettings) -> str:
    """The settings as the JSON that `main` reads: the secret travels by a pipe, not by the argument list."""
    values = settings.model_dump(mode="json", exclude={"postgres"})
    return msgspec.json.encode({**values, "dsn": settings.postgres.dsn.get_secret_value()}).decode()


def main(parent_pid: int) -> None:
    """Entry of the process: settings from standard input; ends with its parent, also one that has ended already."""
    end_with_parent(parent_pid)
    structlog.configure(
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
    )
    values = msgspec.json.decode(sys.stdin.read())
    dsn = values.pop("dsn")
    run(SnapshotSettings(postgres=Postgres(dsn=dsn), **values))


if __name__ == "__main__":
    main(int(sys.argv[1]))
