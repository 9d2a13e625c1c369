"""What the configuration says of numbers: patterns of peers, blocks, pools. A pool's numbers are not here."""

from typing import Any, Final, Literal

import msgspec
import psycopg
from psycopg.rows import class_row, tuple_row

GLOBAL: Final = 0  # the peer of rules that hold for all calls

Field = Literal["caller", "caller_name", "callee"]
Kind = Literal["callee", "zone", "caller", "callee_pool", "caller_pool"]


class Translation(msgspec.Struct, frozen=True):
    """One pattern of a peer: an originator's are for what it sends us, a terminator's for what we send it."""

    peer_id: int
    field: Field
    pattern: str
    replacement: str


class BlockRule(msgspec.Struct, frozen=True):
    """A rule of denial or leave for calls of a peer (an originator), to a peer (a terminator), or of all (GLOBAL).

    `value` is what people read: the prefix, the zone, the pool's name. `rank`: the higher is the more specific within
    a kind (a prefix: its length). `destinations`: of a zone, ids. Times are unix ms: from the first, before the last.
    """

    peer_id: int
    kind: Kind
    value: str
    action: Literal["deny", "allow"] = "deny"
    rank: int = 0
    pool_id: int = 0
    destinations: tuple[int, ...] = ()
    reason: str = ""
    from_ms: int | None = None
    until_ms: int | None = None


class AllowList(msgspec.Struct, frozen=True):
    """A kind in which nothing of a peer's calls (GLOBAL: of all) passes but what a rule allows."""

    peer_id: int
    kind: Kind


class Pool(msgspec.Struct, frozen=True):
    """A pool of numbers, as it was read."""

    pool_id: int
    name: str
    version: int


class NumberRules(msgspec.Struct, frozen=True):
    """All of them, translations in their order."""

    translations: tuple[Translation, ...] = ()
    blocks: tuple[BlockRule, ...] = ()
    pools: tuple[Pool, ...] = ()
    allow_lists: tuple[AllowList, ...] = ()


_TRANSLATIONS: Final = """
    SELECT peer_id, field, pattern, replacement FROM translations ORDER BY peer_id, direction, field, position
"""
# What has ended says nothing any more; what has not begun is read, and waits in the snapshot.
_BLOCKS: Final = """
    SELECT coalesce(peer_id, 0) AS peer_id, kind,
           CASE kind WHEN 'zone' THEN concat_ws(' ', blocks.country, zone_name, zone_kind)
                     WHEN 'callee' THEN prefix WHEN 'caller' THEN prefix ELSE number_pools.name END AS value,
           action, CASE WHEN kind = 'zone' THEN 4 * (zone_name IS NOT NULL)::int + 2 * (zone_kind IS NOT NULL)::int
                                                + (blocks.country IS NOT NULL)::int
                        ELSE coalesce(length(prefix), 0) END AS rank,
           coalesce(pool_id, 0) AS pool_id, zone.ids AS destinations, reason,
           (extract(epoch FROM valid_from) * 1000)::bigint AS from_ms,
           (extract(epoch FROM valid_until) * 1000)::bigint AS until_ms
    FROM blocks LEFT JOIN number_pools USING (pool_id),
         LATERAL (SELECT coalesce(array_agg(destination_id), '{}') AS ids FROM destinations
                  WHERE blocks.kind = 'zone' AND (blocks.country IS NULL OR blocks.country = destinations.country)
                    AND (zone_name IS NULL OR zone_name = destinations.name)
                    AND (zone_kind IS NULL OR zone_kind = destinations.kind)) AS zone
    WHERE enabled AND (valid_until IS NULL OR valid_until > to_timestamp(%s / 1000.0))
    ORDER BY block_id
"""
_ALLOW_LISTS: Final = "SELECT coalesce(peer_id, 0), kind FROM allow_lists ORDER BY 1, 2"
# Only what some rule names: a pool that nobody uses is not in a router's memory.
_POOLS: Final = """
    SELECT pool_id, name, version FROM number_pools
    WHERE EXISTS (SELECT FROM blocks WHERE blocks.pool_id = number_pools.pool_id AND enabled) ORDER BY pool_id
"""


def read_rules(connection: psycopg.Connection[Any], at_ms: int) -> NumberRules:
    """The rules as they are in the connection's transaction, without those that have ended at `at_ms`."""
    with connection.cursor(row_factory=class_row(BlockRule)) as cursor:
        blocks = tuple(
            msgspec.structs.replace(rule, destinations=tuple(rule.destinations))
            for rule in cursor.execute(_BLOCKS, (at_ms,))
        )
    with connection.cursor(row_factory=tuple_row) as cursor:
        translations = tuple(Translation(*row) for row in cursor.execute(_TRANSLATIONS))
        pools = tuple(Pool(*row) for row in cursor.execute(_POOLS))
        allow_lists = tuple(AllowList(*row) for row in cursor.execute(_ALLOW_LISTS))
    return NumberRules(translations, blocks, pools, allow_lists)
