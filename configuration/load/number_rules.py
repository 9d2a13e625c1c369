"""Writes translations, blocks and allow-lists: all of a peer, or of all calls, and only where they differ."""

from typing import Any, Final

from psycopg import sql

from configuration.entities.document import Peer, World
from configuration.entities.numbers import Block, Translations
from configuration.entities.tables import Tables
from configuration.load.allow_lists import check_exceptions, put_allow_only

_TRANSLATIONS: Final = sql.SQL(
    "INSERT INTO translations (peer_id, direction, field, position, pattern, replacement)"
    " SELECT %s, CASE role WHEN 'originator' THEN 'in' ELSE 'out' END, %s, %s, %s, %s FROM peers WHERE peer_id = %s"
)
_COLUMNS: Final = (
    "kind", "action", "prefix", "country", "zone_name", "zone_kind", "pool_id", "reason", "enabled", "valid_from",
    "valid_until",
)  # fmt: skip
_BLOCKS: Final = sql.SQL("SELECT {} FROM blocks WHERE peer_id IS NOT DISTINCT FROM %s ORDER BY block_id").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
)
_BLOCK: Final = sql.SQL("INSERT INTO blocks (peer_id, {}) VALUES (%s, {})").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), sql.SQL(", ").join([sql.Placeholder()] * len(_COLUMNS))
)


def put_pools(tables: Tables, world: World) -> None:
    """Pools by name: their numbers come from files of their own (load-pool)."""
    for index, name in enumerate(world.pools):
        tables.put(f"pools[{index}]", "number_pools", {"name": name})


def put_number_rules(tables: Tables, world: World) -> None:
    """Patterns, blocks and allow-lists of all peers that list them, and those for all calls where the world does.

    Those for all calls come first: a peer's rules may be exceptions from them.
    """
    _put_rules(tables, "", None, world)
    for at, company in enumerate(world.companies):
        for index, peer in enumerate(company.peers):
            path = f"companies[{at}].peers[{index}]"
            peer_id = tables.id_of("peers", peer.name)
            if peer_id is None:
                continue
            if peer.translations is not None:
                _put_translations(tables, f"{path}.translations", peer_id, peer.translations)
            _put_rules(tables, f"{path}.", peer_id, peer)


def _put_rules(tables: Tables, path: str, peer_id: int | None, given: World | Peer) -> None:
    changed = given.blocks is not None and _put_blocks(tables, f"{path}blocks", peer_id, given.blocks)
    if given.allow_only is not None:
        put_allow_only(tables, f"{path}allow_only", peer_id, given.allow_only)
    elif given.blocks is not None:
        check_exceptions(tables, path, peer_id, given.blocks, changed=changed)


def _put_translations(tables: Tables, path: str, peer_id: int, wanted: Translations) -> None:
    rows = [
        (field, position, one.pattern, one.replacement)
        for field in ("callee", "caller", "caller_name")
        for position, one in enumerate(getattr(wanted, field), start=1)
    ]
    there = tables.connection.execute(
        "SELECT field, position, pattern, replacement FROM translations WHERE peer_id = %s ORDER BY field, position",
        (peer_id,),
    ).fetchall()
    if sorted(rows) == sorted(there):
        return
    tables.run(path, sql.SQL("DELETE FROM translations WHERE peer_id = %s"), (peer_id,))
    for field, position, pattern, replacement in rows:
        place = f"{path}.{field}[{position - 1}]"
        tables.run(place, _TRANSLATIONS, (peer_id, field, position, pattern, replacement, peer_id))
    tables.written += len(set(rows) ^ set(there))


def _put_blocks(tables: Tables, path: str, peer_id: int | None, blocks: tuple[Block, ...]) -> bool:
    """Whether they were written: else they were there, or there are errors."""
    rows: list[tuple[Any, ...]] = []
    for index, block in enumerate(blocks):
        pool_id = None
        if block.pool is not None:
            pool_id = tables.id_of("number_pools", block.pool)
            if pool_id is None:
                tables.errors.append(f"{path}[{index}].{block.kind} {block.pool!r}: there is no pool of that name")
                continue
        rows.append(_row(block, pool_id))
    there = tables.connection.execute(_BLOCKS, (peer_id,)).fetchall()
    if rows == there or tables.errors:
        return False
    tables.run(path, sql.SQL("DELETE FROM blocks WHERE peer_id IS NOT DISTINCT FROM %s"), (peer_id,))
    for index, row in enumerate(rows):
        tables.run(f"{path}[{index}]", _BLOCK, (peer_id, *row))
    tables.written += len(set(rows) ^ set(there))
    return True


def _row(block: Block, pool_id: int | None) -> tuple[Any, ...]:
    zone = block.zone
    where = (zone.country, zone.name, zone.kind) if zone is not None else (None, None, None)
    return (
        block.kind, block.action, block.prefix, *where, pool_id, block.reason, block.enabled, block.valid_from,
        block.valid_until,
    )  # fmt: skip
