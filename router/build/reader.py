"""Reads the configuration for the builder: small tables by SELECT, decks by COPY, all in one transaction."""

from collections.abc import Callable
from typing import Any, Final

import numpy
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from router.build.release import read_release_rules
from router.snapshot.config import (
    CONFIG_VERSION,
    Account,
    CodeLimit,
    Config,
    ControlBlock,
    Destination,
    ExchangeRate,
    HuntingClass,
    Pack,
    Peer,
    RouteClass,
    RouteEntry,
)
from router.snapshot.errors import SnapshotError
from router.snapshot.lookups import read_lookups
from router.snapshot.prices import RawDeck, raw_deck
from router.snapshot.rules import read_rules

# One row a price: code, its length, effective_from in microseconds of PostgreSQL, price in 10^-8 (-1: blocked), its id.
_COLUMNS: Final = ("code", "length", "effective", "price_e8", "price_id")
_EPOCH_MS: Final = 946_684_800_000  # PostgreSQL's clock begins in 2000

# Columns are named as the fields of Peer, Account and Pack.
_PEERS: Final = """
    SELECT peer_id, peers.company_id, peers.name, role = 'originator' AS originator,
           peers.enabled AND companies.enabled AS enabled, endpoint, host::text AS host, tech_prefix, deck_id,
           coalesce(route_class_id, 0) AS route_class_id, max_concurrent, max_cps, max_call_seconds, profit,
           (minimum_margin * 100000000)::bigint AS minimum_margin_e8, ring_seconds, allow_special, account_id, pack_id,
           country_code, national_prefix, trusted, pass_diversion, anonymous,
           huntstop, pdd_timeout_seconds, max_setup_seconds, ringback, release_table_id,
           priority, coalesce(hunting_class_id, 0) AS hunting_class_id,
           (minimum_margin_percent * 10000)::int AS minimum_margin_ppm,
           coalesce(target_metric, '') AS target_metric, coalesce((target_value * 100)::int, 0) AS target_value_e2,
           coalesce(lookup_id, 0) AS lookup_id, trust_lrn, rate_by, verification, least_attestation, attestation,
           send_routing_number, codecs
    FROM peers JOIN companies USING (company_id)
    ORDER BY peer_id
"""
_ACCOUNTS: Final = """
    SELECT account_id, payment = 'prepaid' AS prepaid, when_database_away = 'allow' AS allow_when_database_away
    FROM accounts
"""
_PACKS: Final = """
    SELECT pack_id, currency, minimum_seconds, increment_seconds, free_seconds,
           (connect_fee * 1000000)::bigint AS connect_fee_micros, rounding_decimals, duration_rounding, allow_free_codes
    FROM billing_packs
"""
_CLASSES: Final = """
    SELECT route_class_id, name, coalesce(base_class_id, 0) AS base_class_id, timetable, time_zone,
           coalesce((extract(epoch FROM active_from) * 1000)::bigint, 0) AS active_from_ms,
           coalesce((extract(epoch FROM active_until) * 1000)::bigint, 0) AS active_until_ms
    FROM route_classes ORDER BY route_class_id
"""
_ENTRIES: Final = """
    SELECT route_class_id, peer_id, priority, enabled, timetable, portion, max_concurrent, max_cps, pdd_timeout_seconds,
           ring_seconds, huntstop,
           coalesce((extract(epoch FROM active_from) * 1000)::bigint, 0) AS active_from_ms,
           coalesce((extract(epoch FROM active_until) * 1000)::bigint, 0) AS active_until_ms
    FROM route_class_entries ORDER BY route_class_id, priority, peer_id
"""
_HUNTING: Final = """
    SELECT hunting_class_id, name, order_by, minimum_sample, quality_max_age_seconds FROM hunting_classes
    ORDER BY hunting_class_id
"""
_RATES: Final = """
    SELECT currency, (extract(epoch FROM effective_from) * 1000)::bigint, rate
    FROM exchange_rates ORDER BY currency, effective_from
"""
_PRIORITIES: Final = "SELECT price_id, priority FROM prices WHERE priority <> 0 LIMIT %s"
_MOST_PRIORITIES: Final = 100_000
_DESTINATIONS: Final = "SELECT destination_id, code, kind FROM destinations ORDER BY code"
_CONTROL_BLOCKS: Final = """
    SELECT action_id, control, peer_id, code, action, coalesce(cap_concurrent, 0),
           coalesce((extract(epoch FROM until) * 1000)::bigint, 0)
    FROM control_actions WHERE released_at IS NULL AND (until IS NULL OR until > now()) ORDER BY since, action_id
"""
_CODE_LIMITS: Final = "SELECT peer_id, code, max_concurrent, max_cps FROM code_limits ORDER BY peer_id, code"
_DECKS: Final = "SELECT deck_id, version FROM decks ORDER BY deck_id"
_PRICES: Final = """
    COPY (SELECT code::bigint, length(code)::bigint, effective_from,
                 coalesce((price * 100000000)::bigint, -1), price_id
          FROM prices WHERE deck_id = {}) TO STDOUT (FORMAT binary)
"""
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_HEADER_BYTES: Final = len(_SIGNATURE) + 8
_TRAILER: Final = b"\xff\xff"
_WIDTH: Final = 8
_ROW: Final = numpy.dtype(
    [("fields", ">i2"), *(part for name in _COLUMNS for part in ((f"{name}_bytes", ">i4"), (name, ">i8")))]
)
_PIECE_BYTES: Final = 4 << 20


def read_config(connection: psycopg.Connection[Any], taken_at_ms: int) -> Config:
    """The small tables. `next_change_at_ms` and `rates` are left empty: they are of the moment it is built for."""
    generation = connection.execute("SELECT generation FROM configuration_generation").fetchone()
    system = connection.execute("SELECT currency FROM currencies WHERE is_system").fetchone()
    return Config(
        version=CONFIG_VERSION,
        generation=generation[0] if generation else 0,
        taken_at_ms=taken_at_ms,
        next_change_at_ms=None,
        peers=_read_peers(connection),
        route_classes=_read_classes(connection),
        destinations=tuple(Destination(*row) for row in connection.execute(_DESTINATIONS)),
        decks=tuple((deck_id, version) for deck_id, version in connection.execute(_DECKS)),
        numbers=read_rules(connection, taken_at_ms),
        hunting_classes=tuple(HuntingClass(*row) for row in connection.execute(_HUNTING)),
        system_currency=system[0] if system else "",
        price_priorities=_read_priorities(connection),
        exchange_rates=tuple(
            ExchangeRate(currency, effective_ms, rate.as_integer_ratio())
            for currency, effective_ms, rate in connection.execute(_RATES)
        ),
        code_limits=tuple(CodeLimit(*row) for row in connection.execute(_CODE_LIMITS)),
        control_blocks=tuple(ControlBlock(*row) for row in connection.execute(_CONTROL_BLOCKS)),
        lookups=read_lookups(connection),
    )


def read_prices(
    connection: psycopg.Connection[Any], deck_id: int, progress: Callable[[int], None] = lambda rows: None
) -> RawDeck:
    """All prices of a deck, past and future. `progress` is told how many rows have come, now and then.

    The copy is binary and every column of one width, so that the rows that arrive are an array already.
    """
    pieces: list[NDArray[Any]] = []
    waiting = bytearray()
    rows = 0
    with connection.cursor() as cursor, cursor.copy(_PRICES.format(int(deck_id)).encode()) as copy:
        for block in copy:
            waiting += block
            if len(waiting) >= _PIECE_BYTES:
                pieces.append(_take(waiting, start=not pieces))
                rows += len(pieces[-1])
                progress(rows)
    pieces.append(_take(waiting, start=not pieces))
    if bytes(waiting) != _TRAILER:
        raise SnapshotError(f"deck {deck_id}: PostgreSQL sent {len(waiting)} bytes that are no rows")
    table = numpy.concatenate(pieces)
    code, length, effective, price_e8, price_id = (table[name].astype(numpy.int64) for name in _COLUMNS)
    # Rounded up: a price is not in force before its moment.
    return raw_deck(code, length, -(-effective // 1000) + _EPOCH_MS, price_e8, price_id)


def _take(waiting: bytearray, *, start: bool) -> NDArray[Any]:
    """The whole rows that have come, taken from the front of `waiting`; a copy's header and trailer are no rows."""
    if start:
        if not waiting.startswith(_SIGNATURE):
            raise SnapshotError("PostgreSQL sent something else than a binary copy")
        extension = int.from_bytes(waiting[len(_SIGNATURE) + 4 : _HEADER_BYTES], "big")
        del waiting[: _HEADER_BYTES + extension]
    count = len(waiting) // _ROW.itemsize
    table = numpy.frombuffer(bytes(waiting[: count * _ROW.itemsize]), dtype=_ROW)
    del waiting[: count * _ROW.itemsize]
    fields = [table[name] for name in _ROW.names or () if name.endswith("_bytes")]
    if (table["fields"] != len(_COLUMNS)).any() or any((field != _WIDTH).any() for field in fields):
        raise SnapshotError("PostgreSQL sent a row of another shape than was asked for")
    return table


def _read_peers(connection: psycopg.Connection[Any]) -> tuple[Peer, ...]:
    with connection.cursor(row_factory=dict_row) as cursor:
        accounts = {row["account_id"]: Account(**row) for row in cursor.execute(_ACCOUNTS)}
        rules = read_release_rules(connection)
        packs = {row["pack_id"]: Pack(**row) for row in cursor.execute(_PACKS)}
        return tuple(
            Peer(
                account=accounts[row.pop("account_id")],
                pack=packs[row.pop("pack_id")],
                release_rules=rules.get(row.pop("release_table_id"), ""),
                **row,
            )
            for row in cursor.execute(_PEERS)
        )


def _read_classes(connection: psycopg.Connection[Any]) -> tuple[RouteClass, ...]:
    with connection.cursor(row_factory=dict_row) as cursor:
        entries: dict[int, list[RouteEntry]] = {}
        for row in cursor.execute(_ENTRIES):
            entries.setdefault(row.pop("route_class_id"), []).append(RouteEntry(**row))
        return tuple(
            RouteClass(entries=tuple(entries.get(row["route_class_id"], ())), **row) for row in cursor.execute(_CLASSES)
        )


def _read_priorities(connection: psycopg.Connection[Any]) -> dict[int, int]:
    found = dict(connection.execute(_PRIORITIES, (_MOST_PRIORITIES + 1,)).fetchall())
    if len(found) > _MOST_PRIORITIES:
        raise SnapshotError(f"prices with a priority: there are more than {_MOST_PRIORITIES}")
    return found
