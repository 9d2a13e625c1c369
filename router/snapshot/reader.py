"""Reads the configuration for the builder: small tables by SELECT, decks by COPY, all in one transaction."""

import io
from pathlib import Path
from typing import Any, Final

import numpy
import psycopg
import pyarrow
from numpy.typing import NDArray
from psycopg.rows import dict_row
from pyarrow import csv

from router.snapshot.config import CONFIG_VERSION, Account, Config, Destination, Pack, Peer, RouteClass, RouteEntry
from router.snapshot.rules import read_rules

# One row a price: code, its length, effective_from, price in 10^-8 (-1: blocked), price_id.
PRICE_COLUMNS: Final = ("code", "length", "effective_ms", "price_e8", "price_id")
BLOCKED_E8: Final = -1

# Columns are named as the fields of Peer, Account and Pack.
_PEERS: Final = """
    SELECT peer_id, peers.company_id, peers.name, role = 'originator' AS originator,
           peers.enabled AND companies.enabled AS enabled, endpoint, host::text AS host, tech_prefix, deck_id,
           coalesce(route_class_id, 0) AS route_class_id, max_concurrent, max_cps, max_call_seconds, profit,
           (minimum_margin * 100000000)::bigint AS minimum_margin_e8, ring_seconds, allow_special, account_id, pack_id,
           country_code, national_prefix, trusted, anonymous
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
    SELECT route_class_id, name, peer_id, priority, enabled
    FROM route_classes LEFT JOIN route_class_entries USING (route_class_id)
    ORDER BY route_class_id, priority, peer_id
"""
_DESTINATIONS: Final = "SELECT destination_id, code, kind FROM destinations ORDER BY code"
_DECKS: Final = "SELECT deck_id, version FROM decks ORDER BY deck_id"
_PRICES: Final = """
    COPY (SELECT code::bigint, length(code), (extract(epoch FROM effective_from) * 1000)::bigint,
                 coalesce((price * 100000000)::bigint, -1), price_id
          FROM prices WHERE deck_id = {}) TO STDOUT (FORMAT csv)
"""


def read_config(connection: psycopg.Connection[Any], taken_at_ms: int) -> Config:
    """The small tables. `next_change_at_ms` is left empty: the prices tell."""
    generation = connection.execute("SELECT generation FROM configuration_generation").fetchone()
    classes: dict[int, tuple[str, list[RouteEntry]]] = {}
    for class_id, name, peer_id, priority, enabled in connection.execute(_CLASSES):
        entries = classes.setdefault(class_id, (name, []))[1]
        if peer_id is not None:
            entries.append(RouteEntry(peer_id, priority, enabled))
    return Config(
        version=CONFIG_VERSION,
        generation=generation[0] if generation else 0,
        taken_at_ms=taken_at_ms,
        next_change_at_ms=None,
        peers=_read_peers(connection),
        route_classes=tuple(RouteClass(key, name, tuple(entries)) for key, (name, entries) in classes.items()),
        destinations=tuple(Destination(*row) for row in connection.execute(_DESTINATIONS)),
        decks=tuple((deck_id, version) for deck_id, version in connection.execute(_DECKS)),
        numbers=read_rules(connection),
    )


def read_deck(connection: psycopg.Connection[Any], deck_id: int, version: int, cache: Path) -> NDArray[numpy.int64]:
    """All prices of a deck, past and future, as rows of PRICE_COLUMNS; from the cache if it was read before."""
    path = cache / f"deck-{deck_id}-{version}.npy"
    if path.exists():
        rows: NDArray[numpy.int64] = numpy.load(path)
        return rows
    buffer = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(_PRICES.format(int(deck_id)).encode()) as copy:
        for block in copy:
            buffer.write(block)
    rows = _parse(buffer.getvalue())
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        numpy.save(file, rows)
    part.replace(path)
    for old in cache.glob(f"deck-{deck_id}-*.npy"):
        if old != path:
            old.unlink()
    return rows


def _parse(text: bytes) -> NDArray[numpy.int64]:
    if not text:
        return numpy.empty((0, len(PRICE_COLUMNS)), dtype=numpy.int64)
    table = csv.read_csv(
        pyarrow.BufferReader(text),
        read_options=csv.ReadOptions(column_names=list(PRICE_COLUMNS)),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(PRICE_COLUMNS, pyarrow.int64())),
    )
    return numpy.stack([table[name].to_numpy() for name in PRICE_COLUMNS], axis=1)


def _read_peers(connection: psycopg.Connection[Any]) -> tuple[Peer, ...]:
    with connection.cursor(row_factory=dict_row) as cursor:
        accounts = {row["account_id"]: Account(**row) for row in cursor.execute(_ACCOUNTS)}
        packs = {row["pack_id"]: Pack(**row) for row in cursor.execute(_PACKS)}
        return tuple(
            Peer(account=accounts[row.pop("account_id")], pack=packs[row.pop("pack_id")], **row)
            for row in cursor.execute(_PEERS)
        )
